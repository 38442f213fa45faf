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
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
)

// Wait watches an APIKey until done says so of one of its forms, or returns an error,
// or ctx ends: then the error is why it did. Where the APIKey is deleted, or replaced
// by another of its name, the error is NotFound. It returns the last form it saw.
func (c *Cluster) Wait(ctx context.Context, key *v1alpha1.APIKey, done func(*v1alpha1.APIKey) (bool, error)) (*v1alpha1.APIKey, error) {
	gone := apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("apikeys").GroupResource(), key.Name)
	scope := []client.ListOption{
		client.InNamespace(key.Namespace),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", key.Name)},
	}
	last := key
	err := c.follow(ctx, scope, func() error { return gone }, func(found *v1alpha1.APIKey, there bool) (bool, error) {
		if !there || found.UID != key.UID {
			return false, gone
		}
		last = found
		return done(found)
	})
	return last, err
}

// WaitAll watches the APIKeys of the user's namespace until done says so of one of
// their forms, or ctx ends. Those that are deleted are passed over.
func (c *Cluster) WaitAll(ctx context.Context, done func(*v1alpha1.APIKey) bool) error {
	return c.follow(ctx, []client.ListOption{client.InNamespace(c.Namespace)}, nil, func(key *v1alpha1.APIKey, there bool) (bool, error) {
		return there && done(key), nil
	})
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
