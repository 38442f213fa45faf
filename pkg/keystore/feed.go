package keystore

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"keygate.dev/keygate/pkg/keysecret"
)

// keysSelector selects what is watched in the keys namespace: all but ledgers.
var keysSelector = fields.OneTermNotEqualSelector("type", string(keysecret.TypeLedger)).String()

// feed takes what the watch of the keys namespace brings into the store. It
// implements [cache.ReflectorStore].
type feed struct {
	*listWatch
	decoder  *decoder
	index    *index
	cache    *recordCache
	policies *policies
	now      func() time.Time
	log      *slog.Logger

	// again asks for everything to be listed anew.
	again chan struct{}
	// synced: the first list is in.
	synced atomic.Bool
	// heard is when the last list, event or bookmark came, in nanoseconds since 1970.
	heard atomic.Int64
}

// run feeds the store until ctx ends.
func (f *feed) run(ctx context.Context) {
	for ctx.Err() == nil {
		round, cancel := context.WithCancel(ctx)
		go func() {
			select {
			case <-f.again:
				cancel()
			case <-round.Done():
			}
		}()
		reflect(round, "keys", f.listWatch, f, f.log)
		cancel()
	}
}

// relistAll has everything listed anew, soon.
func (f *feed) relistAll() {
	select {
	case f.again <- struct{}{}:
	default: // it is asked for already
	}
}

// keepItems is what a list of the keys namespace keeps. Records beyond the room in
// the cache are not held even while the list goes on, but for those that are to
// take the place of what is cached.
func (f *feed) keepItems() func(*corev1.Secret) runtime.Object {
	room := f.cache.capacity - f.cache.len()
	return func(secret *corev1.Secret) runtime.Object {
		it := f.decoder.decode(secret)
		switch {
		case it.entry == nil || f.cache.contains(it.digest):
		case room > 0:
			room--
		default:
			it.entry = nil
		}
		return it
	}
}

// Add implements [cache.ReflectorStore]. No method returns an error: client-go
// would log the object with it.
func (f *feed) Add(obj any) error {
	f.take(obj, true)
	return nil
}

// Update implements [cache.ReflectorStore].
func (f *feed) Update(obj any) error {
	f.take(obj, false)
	return nil
}

// take takes in a Secret that the watch shows. A new key will be used soon and is
// cached; of an old one only the cached record is brought up to date.
func (f *feed) take(obj any, added bool) {
	secret, ok := obj.(*corev1.Secret)
	if !ok {
		return
	}
	it := f.decoder.decode(secret)
	switch {
	case !it.sound:
	case it.isRecord():
		f.cache.put(it.entry, added) // first, so that the index never names what is not cached yet
		f.index.advance(it.digest, it.version)
	default:
		f.policies.put(it)
	}
}

// Delete implements [cache.ReflectorStore]. The object's resourceVersion is that of
// its deletion.
func (f *feed) Delete(obj any) error {
	secret, ok := obj.(*corev1.Secret)
	if !ok {
		return nil
	}
	version, err := parseVersion(secret.ResourceVersion)
	if err != nil {
		f.log.Error("a deletion without a resourceVersion: everything is listed anew", "error", err)
		f.relistAll()
		return nil
	}
	it := newItem(secret.Name)
	it.version = version
	f.forget(it)
	return nil
}

// forget removes what is known of the item's name up to the item's version. It
// reports whether there was something.
func (f *feed) forget(it *item) bool {
	if !it.isRecord() {
		return f.policies.remove(it.name, it.version)
	}
	removed := f.index.remove(it.digest, it.version)
	if removed {
		f.cache.remove(it.digest)
	}
	return removed
}

// Replace implements [cache.ReflectorStore]: it takes in a list of everything.
func (f *feed) Replace(objects []any, resourceVersion string) error {
	at, err := parseVersion(resourceVersion)
	if err != nil {
		return err // holds no object
	}
	var records, others []*item
	for _, obj := range objects {
		switch it, ok := obj.(*item); {
		case !ok:
		case it.isRecord():
			records = append(records, it)
			if it.sound && it.entry != nil {
				f.cache.put(it.entry, false)
			}
		default:
			others = append(others, it)
		}
	}
	for _, digest := range f.index.replace(records, at) {
		f.cache.remove(digest)
	}
	f.policies.replace(others, at)
	f.UpdateResourceVersion(resourceVersion)
	if !f.synced.Swap(true) {
		f.log.Info("the first list of the keys namespace is in", "keys", f.index.len(), "policies", f.policies.len())
	}
	return nil
}

// Resync implements [cache.ReflectorStore]: there is nothing to do.
func (f *feed) Resync() error { return nil }

// UpdateResourceVersion implements [cache.ResourceVersionUpdater]: it is called for
// every event and bookmark.
func (f *feed) UpdateResourceVersion(resourceVersion string) {
	f.advance(resourceVersion)
	f.heard.Store(f.now().UnixNano())
}
