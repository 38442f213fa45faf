package keystore

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"keygate.dev/keygate/pkg/keysecret"
)

// rootFeed follows the root Secret. A root Secret that is deleted or can't be read
// changes nothing: what was known of it stays in force. It implements
// [cache.ReflectorStore].
type rootFeed struct {
	*listWatch
	root    *atomic.Pointer[keysecret.Root]
	metrics *metrics
	log     *slog.Logger

	// first is closed when there is a root.
	first chan struct{}
	once  sync.Once
	// changed is called for every root but the first.
	changed func()
	// version of the root Secret that was taken last; the reflector's goroutine only.
	version string
}

// keepSecret is what a list of the root Secret keeps: it, apart from its page.
func keepSecret() func(*corev1.Secret) runtime.Object {
	return func(secret *corev1.Secret) runtime.Object { return secret.DeepCopy() }
}

// run follows the root Secret until ctx ends.
func (f *rootFeed) run(ctx context.Context) { reflect(ctx, "root", f.listWatch, f, f.log) }

// Add implements [cache.ReflectorStore]. No method returns an error: client-go
// would log the object with it.
func (f *rootFeed) Add(obj any) error {
	if secret, ok := obj.(*corev1.Secret); ok {
		f.take(secret)
	}
	return nil
}

// Update implements [cache.ReflectorStore].
func (f *rootFeed) Update(obj any) error { return f.Add(obj) }

// Delete implements [cache.ReflectorStore].
func (f *rootFeed) Delete(any) error {
	f.missing()
	return nil
}

// Replace implements [cache.ReflectorStore].
func (f *rootFeed) Replace(objects []any, resourceVersion string) error {
	f.advance(resourceVersion)
	if len(objects) == 0 {
		f.missing()
	}
	for _, obj := range objects {
		_ = f.Add(obj)
	}
	return nil
}

// Resync implements [cache.ReflectorStore]: there is nothing to do.
func (f *rootFeed) Resync() error { return nil }

// UpdateResourceVersion implements [cache.ResourceVersionUpdater].
func (f *rootFeed) UpdateResourceVersion(resourceVersion string) { f.advance(resourceVersion) }

// take makes a root Secret the one in force.
func (f *rootFeed) take(secret *corev1.Secret) {
	if secret.Name != keysecret.RootName || secret.ResourceVersion == f.version {
		return
	}
	root, err := keysecret.ParseRoot(secret)
	if err != nil {
		f.metrics.rejected(kindRoot, rejectUnreadable)
		f.log.Error("the root Secret can't be read: the last good one stays in force", "error", err)
		return
	}
	f.version = secret.ResourceVersion
	if f.root.Swap(root) != nil {
		f.log.Info("the root Secret has changed: every key is read again")
		f.changed()
	}
	f.once.Do(func() { close(f.first) })
}

// missing tells that there is no root Secret.
func (f *rootFeed) missing() {
	if f.root.Load() == nil {
		f.log.Warn("there is no root Secret yet: waiting for the controller to make it")
		return
	}
	f.metrics.rejected(kindRoot, rejectMissing)
	f.log.Error("the root Secret is gone: the last good one stays in force")
}
