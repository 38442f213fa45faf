package keystore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
	"k8s.io/klog/v2"

	"keygate.dev/keygate/pkg/scrub"
)

// Between attempts to list or watch: from the first to the longest, with jitter.
const (
	retryFirst   = 250 * time.Millisecond
	retryLongest = 5 * time.Second
	retryReset   = 30 * time.Second
)

// pageSize is the number of Secrets in a page of a list.
const pageSize = 500

// errLagging is returned for a list that is older than what was seen before. A
// consistent read can't be, so the API server is not to be believed. Where etcd was
// restored from a backup without a bump of its revision, it takes a restart of this
// process to believe it.
var errLagging = errors.New("the API server's list is older than what it showed before")

// listWatch lists and watches some Secrets of one namespace. In place of the
// reflector's own, every list is a consistent read ("Resource Versions", "Get and
// List" in the API concepts of Kubernetes: resourceVersion unset), never one from a
// cache that may lag: else a restart could bring back what was deleted.
type listWatch struct {
	secrets typedcorev1.SecretInterface
	// selector is the field selector.
	selector string
	// begin starts a list and returns what makes a Secret of it into what is kept.
	begin func() func(*corev1.Secret) runtime.Object
	// position is the newest resourceVersion seen so far.
	position atomic.Uint64
	metrics  *feedMetrics
}

// List implements [cache.ListerWatcher]; the reflector calls ListWithContext.
func (l *listWatch) List(options metav1.ListOptions) (runtime.Object, error) {
	return l.ListWithContext(context.Background(), options)
}

// Watch implements [cache.ListerWatcher]; the reflector calls WatchWithContext.
func (l *listWatch) Watch(options metav1.ListOptions) (watch.Interface, error) {
	return l.WatchWithContext(context.Background(), options)
}

// IsWatchListSemanticsUnSupported keeps the reflector from streaming its lists: it
// would hold every Secret whole until the last has come.
func (l *listWatch) IsWatchListSemanticsUnSupported() bool { return true }

// ListWithContext lists everything in pages, and keeps of each page only what is
// kept in the end. Options are the reflector's wishes and are not heeded.
func (l *listWatch) ListWithContext(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
	keep, seen := l.begin(), l.position.Load()
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		page, err := l.secrets.List(ctx, options)
		if err != nil {
			return nil, withoutQuery(err)
		}
		kept := &internalversion.List{ListMeta: page.ListMeta, Items: make([]runtime.Object, 0, len(page.Items))}
		for i := range page.Items {
			kept.Items = append(kept.Items, keep(&page.Items[i]))
		}
		return kept, nil
	})
	pages.PageSize = pageSize
	list, _, err := pages.List(ctx, metav1.ListOptions{FieldSelector: l.selector})
	if err == nil {
		err = notBefore(list, seen)
	}
	if ctx.Err() == nil {
		l.metrics.listed(err)
	}
	return list, err
}

// notBefore returns [errLagging] for a list that is older than seen.
func notBefore(list runtime.Object, seen uint64) error {
	listed, err := meta.ListAccessor(list)
	if err != nil {
		return err
	}
	at, err := parseVersion(listed.GetResourceVersion())
	if err != nil {
		return err
	}
	if at < seen {
		return fmt.Errorf("%w: resourceVersion %d, seen %d", errLagging, at, seen)
	}
	return nil
}

// WatchWithContext watches from where the reflector is.
func (l *listWatch) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.FieldSelector = l.selector
	w, err := l.secrets.Watch(ctx, options)
	if ctx.Err() != nil && err != nil {
		return watch.NewFake(), nil // it is over, which is no error: the reflector will see
	}
	l.metrics.watched(err)
	if err != nil {
		return nil, withoutQuery(err)
	}
	return w, nil
}

// advance notes that the API server has shown a resourceVersion.
func (l *listWatch) advance(resourceVersion string) {
	version, err := parseVersion(resourceVersion)
	if err != nil {
		return
	}
	for {
		seen := l.position.Load()
		if version <= seen || l.position.CompareAndSwap(seen, version) {
			return
		}
	}
}

// reflect feeds a store by a list and a watch until ctx ends, trying again for as
// long as they fail.
func reflect(ctx context.Context, name string, l *listWatch, store cache.ReflectorStore, log *slog.Logger) {
	logger := logr.FromSlogHandler(scrub.Handler(log.Handler()))
	steps := int(math.Ceil(float64(retryLongest) / float64(retryFirst)))
	r := cache.NewReflectorWithOptions(l, nil, store, cache.ReflectorOptions{
		Logger:          &logger,
		Name:            name,
		TypeDescription: "Secret",
		Backoff:         &wait.Backoff{Duration: retryFirst, Cap: retryLongest, Steps: steps, Factor: 2, Jitter: 0.5},
	})
	r.RunWithContext(klog.NewContext(ctx, logger))
}
