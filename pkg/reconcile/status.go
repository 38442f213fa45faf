package reconcile

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// maxKeys is how many tokens a status lists.
const maxKeys = 16

// report writes the status of an APIKey where it differs from what ought to be.
func (r *keys) report(ctx context.Context, key *v1alpha1.APIKey, want *desired) error {
	base := key.DeepCopy()
	statusOf(key, want, r.now())
	r.metrics.keyIs(client.ObjectKeyFromObject(key), want.ready.Reason)
	if equality.Semantic.DeepEqual(base.Status, key.Status) {
		return nil
	}
	if err := r.store.client.Status().Patch(ctx, key, client.MergeFrom(base), fieldOwner); err != nil {
		return fmt.Errorf("write the status: %w", client.IgnoreNotFound(err))
	}
	r.events.reported(key, base.Status.Conditions, key.Status.Conditions)
	return nil
}

// statusOf puts into an APIKey's status what ought to be there. Of what was there
// only the transition times of unchanged conditions are kept.
func statusOf(key *v1alpha1.APIKey, want *desired, now time.Time) {
	status := &key.Status
	status.ObservedGeneration = key.Generation
	status.Conditions = conditions(status.Conditions, key.Generation, now, want.ready, want.delivered)
	status.Hint, status.Environment, status.Scopes, status.ExpiresAt = "", "", nil, nil
	if r := want.elected; r != nil {
		status.Hint, status.Environment, status.ExpiresAt = r.Hint, r.Environment, metaTime(r.ExpiresAt)
		for _, scope := range r.Scopes {
			status.Scopes = append(status.Scopes, v1alpha1.ScopeName(scope))
		}
	}
	status.Keys = issuedKeys(want.records)
}

// conditions are the wanted ones, with the transition times of those in old that
// have not changed.
func conditions(old []metav1.Condition, generation int64, now time.Time, want ...metav1.Condition) []metav1.Condition {
	result := make([]metav1.Condition, 0, len(want))
	for _, condition := range want {
		if before := meta.FindStatusCondition(old, condition.Type); before != nil {
			result = append(result, *before)
		}
		condition.ObservedGeneration = generation
		condition.LastTransitionTime = metav1.Time{}
		before := meta.FindStatusCondition(result, condition.Type)
		if before == nil || before.Status != condition.Status || before.LastTransitionTime.After(now) {
			condition.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
		}
		meta.SetStatusCondition(&result, condition)
	}
	return result
}

// issuedKeys are the tokens that were delivered, or are about to be: newest first.
func issuedKeys(records []*apikey.Record) []v1alpha1.IssuedKey {
	sorted := slices.SortedFunc(slices.Values(records), newestFirst)
	var keys []v1alpha1.IssuedKey
	for _, r := range sorted[:min(len(sorted), maxKeys)] {
		keys = append(keys, v1alpha1.IssuedKey{
			ID:        r.Digest.ID(),
			Hint:      r.Hint,
			Serial:    r.Serial,
			State:     string(r.State),
			IssuedAt:  metaTime(&r.IssuedAt),
			ExpiresAt: metaTime(r.ExpiresAt),
		})
	}
	return keys
}

// newestFirst orders records by their issue.
func newestFirst(a, b *apikey.Record) int {
	if order := b.IssuedAt.Compare(a.IssuedAt); order != 0 {
		return order
	}
	return bytes.Compare(a.Digest[:], b.Digest[:])
}

// metaTime is t as the API writes it: to the second.
func metaTime(t *time.Time) *metav1.Time {
	if t == nil {
		return nil
	}
	at := metav1.NewTime(t.Local().Truncate(time.Second))
	return &at
}
