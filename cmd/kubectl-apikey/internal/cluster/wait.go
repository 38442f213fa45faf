package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
)

// Wait watches an APIKey until done says so of one of its forms, or returns an error,
// or ctx ends: then the error is that of ctx. Where the APIKey is deleted, or replaced
// by another of its name, the error is NotFound.
func (c *Cluster) Wait(ctx context.Context, key *v1alpha1.APIKey, done func(*v1alpha1.APIKey) (bool, error)) (*v1alpha1.APIKey, error) {
	gone := apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("apikeys").GroupResource(), key.Name)
	last := key
	event, err := watchtools.ListWatchUntil(ctx, c.one(ctx, key), func(event watch.Event) (bool, error) {
		found, ok := event.Object.(*v1alpha1.APIKey)
		switch {
		case event.Type == watch.Error:
			return false, apierrors.FromObject(event.Object)
		case !ok:
			return false, nil
		case event.Type == watch.Deleted || found.UID != key.UID:
			return false, gone
		}
		last = found
		return done(found)
	})
	if err != nil && ctx.Err() != nil {
		return last, context.Cause(ctx)
	}
	if err == nil && event == nil {
		return last, gone
	}
	return last, err
}

// one lists and watches one APIKey.
func (c *Cluster) one(ctx context.Context, key *v1alpha1.APIKey) cache.ListerWatcher {
	scope := []client.ListOption{
		client.InNamespace(key.Namespace),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", key.Name)},
	}
	return c.listWatch(ctx, scope)
}

// listWatch lists and watches APIKeys.
func (c *Cluster) listWatch(ctx context.Context, scope []client.ListOption) cache.ListerWatcher {
	return &cache.ListWatch{
		ListFunc: func(o metav1.ListOptions) (runtime.Object, error) {
			list := &v1alpha1.APIKeyList{}
			return list, c.client.List(ctx, list, append(scope, &client.ListOptions{Raw: &o})...)
		},
		WatchFunc: func(o metav1.ListOptions) (watch.Interface, error) {
			return c.client.Watch(ctx, &v1alpha1.APIKeyList{}, append(scope, &client.ListOptions{Raw: &o})...)
		},
	}
}

// Ready is the Ready condition of an APIKey; nil: the controller has not judged its
// newest form yet.
func Ready(key *v1alpha1.APIKey) *metav1.Condition {
	ready := meta.FindStatusCondition(key.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.ObservedGeneration < key.Generation {
		return nil
	}
	return ready
}

// Refusal is why an APIKey does not work, and what would change that is somebody's to
// do.
type Refusal struct{ Reason, Message string }

// Error implements error.
func (r *Refusal) Error() string { return fmt.Sprintf("%s: %s", r.Reason, r.Message) }

// refusalStands is how long a refusal has to stand until it is believed: a policy that
// was applied together with the key may need a moment.
const refusalStands = 3 * time.Second

// WaitReady waits until an APIKey works and done says so, too. The error is a
// [Refusal] where the controller refuses the key and goes on to.
func (c *Cluster) WaitReady(ctx context.Context, key *v1alpha1.APIKey, done func(*v1alpha1.APIKey) bool) (*v1alpha1.APIKey, error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	var standing *time.Timer
	stop := func() {
		if standing != nil {
			standing.Stop()
		}
	}
	defer func() { stop() }()
	return c.Wait(ctx, key, func(key *v1alpha1.APIKey) (bool, error) {
		stop()
		ready := Ready(key)
		switch {
		case ready == nil || ready.Reason == v1alpha1.ReasonPending:
			return false, nil
		case ready.Status == metav1.ConditionTrue:
			return done(key), nil
		}
		refusal := &Refusal{ready.Reason, ready.Message}
		standing = time.AfterFunc(refusalStands, func() { giveUp(refusal) })
		return false, nil
	})
}

// IsRefusal returns the Refusal in err, if there is one.
func IsRefusal(err error) (*Refusal, bool) {
	var refusal *Refusal
	return refusal, errors.As(err, &refusal)
}
