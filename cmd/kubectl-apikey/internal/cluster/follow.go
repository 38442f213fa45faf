package cluster

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
)

// step judges one form of an APIKey; there is false where it was deleted. Done ends
// the following.
type step func(key *v1alpha1.APIKey, there bool) (done bool, err error)

// follow lists APIKeys and then watches them, until a step is done or fails, or ctx
// ends: then the error is the cause of that. empty, if not nil, judges a list that has
// none.
func (c *Cluster) follow(ctx context.Context, scope []client.ListOption, empty func() error, next step) error {
	for {
		list := &v1alpha1.APIKeyList{}
		if err := c.client.List(ctx, list, scope...); err != nil {
			return ended(ctx, err)
		}
		if len(list.Items) == 0 && empty != nil {
			return empty()
		}
		for i := range list.Items {
			if done, err := next(&list.Items[i], true); done || err != nil {
				return err
			}
		}
		_, err := watchtools.Until(ctx, list.ResourceVersion, c.watcher(scope), func(event watch.Event) (bool, error) {
			if event.Type == watch.Error {
				return false, apierrors.FromObject(event.Object)
			}
			key, ok := event.Object.(*v1alpha1.APIKey)
			if !ok { // a bookmark
				return false, nil
			}
			return next(key, event.Type != watch.Deleted)
		})
		// A watch that fell too far behind begins anew, as one that the server closed.
		if ctx.Err() == nil && (apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || errors.Is(err, watchtools.ErrWatchClosed)) {
			continue
		}
		return ended(ctx, err)
	}
}

// ended is why ctx ended, if it has, else err.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// watcher watches APIKeys.
func (c *Cluster) watcher(scope []client.ListOption) cache.Watcher {
	return &cache.ListWatch{WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
		return c.client.Watch(ctx, &v1alpha1.APIKeyList{}, append([]client.ListOption{&client.ListOptions{Raw: &o}}, scope...)...)
	}}
}
