package keystore

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/pager"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/scrub"
)

// maxRepairs is the number of differences that are settled one by one. Where there
// are more the watch has failed, and everything is listed anew.
const maxRepairs = 1000

// relistPage is the number of names in a page of a list.
const relistPage = 2000

// Changes that a relist found: metric labels.
const (
	repairAdded   = "added"
	repairUpdated = "updated"
	repairRemoved = "removed"
)

// relister finds what the watch lost: it compares what is known with a consistent
// list of names and resourceVersions, and reads what differs.
type relister struct {
	names   metadata.ResourceInterface
	get     func(ctx context.Context, name string) (*corev1.Secret, error)
	timeout time.Duration
	// limit of differences; see maxRepairs.
	limit   int
	feed    *feed
	metrics *metrics
	log     *slog.Logger
}

// run relists every so often until ctx ends.
func (r *relister) run(ctx context.Context, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !r.feed.synced.Load() {
			continue
		}
		if err := r.relist(ctx); err != nil && ctx.Err() == nil {
			r.metrics.relists.WithLabelValues(relistFailed).Inc()
			r.log.Error("the index could not be checked against the API server", "error", scrub.Error(err))
		}
	}
}

// relist checks everything once.
func (r *relister) relist(ctx context.Context) error {
	listed, err := r.list(ctx)
	if err != nil {
		return err
	}
	differing := slices.Concat(listed.differing, listed.missing(r.feed))
	if len(differing) > r.limit {
		r.log.Error("the watch has lost many changes: everything is listed anew", "differing", len(differing))
		r.metrics.relists.WithLabelValues(relistFull).Inc()
		r.feed.relistAll()
		return nil
	}
	for _, name := range differing {
		if err := r.settle(ctx, name); err != nil {
			return err
		}
	}
	r.metrics.relists.WithLabelValues(relistOK).Inc()
	return nil
}

// nameList is a list of names, compared with what is known as it arrives.
type nameList struct {
	// at is the list's resourceVersion.
	at uint64
	// records are the first 8 bytes of each digest, sorted: enough to tell whether a
	// digest is listed, but for one in 2^64, whose loss would go unnoticed.
	records []uint64
	// others are the names that are not records'.
	others map[string]bool
	// differing are the names of what is newer than known.
	differing []string
}

// list reads all names.
func (r *relister) list(ctx context.Context) (*nameList, error) {
	seen := r.feed.position.Load()
	n := &nameList{records: make([]uint64, 0, r.feed.index.len()), others: map[string]bool{}}
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		page, err := r.names.List(ctx, options)
		if err != nil {
			return nil, err
		}
		if options.Continue == "" { // the first page, or a fresh start
			n.records, n.differing = n.records[:0], nil
			clear(n.others)
		}
		for i := range page.Items {
			if err := n.add(r.feed, &page.Items[i]); err != nil {
				return nil, err
			}
		}
		page.Items = nil // nothing more is wanted of them
		return page, nil
	})
	pages.PageSize = relistPage
	list, _, err := pages.List(ctx, metav1.ListOptions{FieldSelector: keysSelector})
	if err != nil {
		return nil, err
	}
	if err := notBefore(list, seen); err != nil {
		return nil, err
	}
	listed, err := meta.ListAccessor(list)
	if err != nil {
		return nil, err
	}
	n.at, err = parseVersion(listed.GetResourceVersion())
	slices.Sort(n.records)
	return n, err
}

// add takes in one listed object.
func (n *nameList) add(f *feed, listed *metav1.PartialObjectMetadata) error {
	version, err := parseVersion(listed.ResourceVersion)
	if err != nil {
		return fmt.Errorf("a listed Secret: %w", err)
	}
	it := newItem(listed.Name)
	if it.isRecord() {
		n.records = append(n.records, prefixOf(it.digest))
	} else {
		n.others[it.name] = true
	}
	if f.known(it) < version && !f.decoder.rejections.has(listed.Name, version) {
		n.differing = append(n.differing, listed.Name)
	}
	return nil
}

// missing are the names of what is known but not listed, and not younger than the
// list.
func (n *nameList) missing(f *feed) []string {
	names := f.policies.missing(n.others, n.at)
	f.index.each(func(d apikey.Digest, version uint64) {
		if version > n.at {
			return
		}
		if _, found := slices.BinarySearch(n.records, prefixOf(d)); !found {
			names = append(names, keysecret.RecordName(d))
		}
	})
	return names
}

// prefixOf is the first 8 bytes of a digest.
func prefixOf(d apikey.Digest) uint64 { return binary.BigEndian.Uint64(d[:]) }

// known is the version that is known of the item's name, 0 for none.
func (f *feed) known(it *item) uint64 {
	if it.isRecord() {
		return f.index.version(it.digest)
	}
	return f.policies.version(it.name)
}

// settle takes in what a live read says of a name.
func (r *relister) settle(ctx context.Context, name string) error {
	it := newItem(name)
	known, deletions := r.feed.known(it), r.feed.removals(it)
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	secret, err := r.get(ctx, name)
	switch {
	case apierrors.IsNotFound(err):
		it.version = known
		if r.feed.forget(it) {
			r.repaired(repairRemoved)
		}
		return nil
	case err != nil:
		return err
	}
	if r.feed.admit(r.feed.decoder.decode(secret), deletions) {
		change := repairUpdated
		if known == 0 {
			change = repairAdded
		}
		r.repaired(change)
	}
	return nil
}

func (r *relister) repaired(change string) { r.metrics.repairs.WithLabelValues(change).Inc() }

// removals is the number to hand to admit, read before the live read begins.
func (f *feed) removals(it *item) uint64 {
	if it.isRecord() {
		return f.index.deletions(it.digest)
	}
	return f.policies.deletionCount()
}

// admit takes in what a live read found, unless it may be older than a removal. It
// reports whether that was news.
func (f *feed) admit(it *item, removals uint64) bool {
	switch {
	case !it.sound:
		return false
	case it.isRecord():
		f.cache.put(it.entry, false)
		return f.index.admit(it.digest, it.version, removals)
	default:
		return f.policies.admit(it, removals)
	}
}
