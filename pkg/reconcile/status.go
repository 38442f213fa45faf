package reconcile

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/scrub"
)

// maxMessage is the longest message of a condition, in bytes: a quarter of what the
// API takes (metav1.Condition), so that many objects can be listed.
const maxMessage = 8 << 10

// stateUnreadable is what a status says of a token whose record cannot be read.
const stateUnreadable = "Unreadable"

// maxKeys is how many tokens a status lists.
const maxKeys = 16

// report writes the status of an APIKey where it differs from what ought to be.
func (r *keys) report(ctx context.Context, key *v1alpha1.APIKey, want *desired) error {
	base := key.DeepCopy()
	statusOf(key, want, r.now())
	r.metrics.keyIs(client.ObjectKeyFromObject(key), want.ready.Reason)
	r.metrics.keyExpires(client.ObjectKeyFromObject(key), meta.IsStatusConditionTrue(want.expiring, v1alpha1.ConditionExpiringSoon))
	if equality.Semantic.DeepEqual(base.Status, key.Status) {
		return nil
	}
	if err := r.store.client.Status().Patch(ctx, key, client.MergeFrom(base), fieldOwner); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	r.events.reported(key, base.Status.Conditions, key.Status.Conditions)
	return nil
}

// statusOf puts into an APIKey's status what ought to be there. Of what was there
// only the transition times of unchanged conditions are kept, and when the tokens
// that there are were last used.
func statusOf(key *v1alpha1.APIKey, want *desired, now time.Time) {
	status := &key.Status
	status.ObservedGeneration = key.Generation
	status.Conditions = conditions(status.Conditions, key.Generation, now, want.conditions()...)
	status.Hint, status.Environment, status.Scopes, status.Plan, status.ExpiresAt = "", "", nil, "", nil
	if r := want.elected; r != nil {
		status.Hint, status.Environment, status.ExpiresAt = r.Hint, r.Environment, metaTime(r.ExpiresAt)
		status.Plan = v1alpha1.PlanName(r.Plan)
		for _, scope := range r.Scopes {
			status.Scopes = append(status.Scopes, v1alpha1.ScopeName(scope))
		}
	}
	status.NextRotationAt = metaTime(&want.nextRotation)
	status.Keys = issuedKeys(want.records)
	status.Usage = usageOf(status.Usage, want.records)
}

// conditions are the wanted ones, with the transition times of those in old that
// have not turned.
func conditions(old []metav1.Condition, generation int64, now time.Time, want ...metav1.Condition) []metav1.Condition {
	for i := range want {
		condition := &want[i]
		condition.ObservedGeneration = generation
		condition.Message = atMost(maxMessage, scrub.Text(condition.Message))
		condition.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
		before := meta.FindStatusCondition(old, condition.Type)
		if before != nil && before.Status == condition.Status && !before.LastTransitionTime.After(now) {
			condition.LastTransitionTime = before.LastTransitionTime
		}
	}
	return want
}

// atMost is the first n bytes of a text, or a little less where that would cut a
// character in two.
func atMost(n int, text string) string {
	return strings.ToValidUTF8(text[:min(n, len(text))], "")
}

// issuedKeys are the tokens that were delivered, or are about to be: newest first. Where
// there are too many, it is of the dead that the oldest are left out.
func issuedKeys(records []*apikey.Record) []v1alpha1.IssuedKey {
	sorted := slices.SortedFunc(slices.Values(records), func(a, b *apikey.Record) int {
		switch {
		case dead(a) == dead(b):
			return newestFirst(a, b)
		case dead(a):
			return 1
		}
		return -1
	})
	sorted = sorted[:min(len(sorted), maxKeys)]
	slices.SortFunc(sorted, newestFirst)
	var keys []v1alpha1.IssuedKey
	for _, r := range sorted {
		keys = append(keys, issuedKey(r))
	}
	return keys
}

// issuedKey tells of one token.
func issuedKey(r *apikey.Record) v1alpha1.IssuedKey {
	key := v1alpha1.IssuedKey{
		ID:        r.Digest.ID(),
		Hint:      r.Hint,
		Serial:    r.Serial,
		State:     string(r.State),
		IssuedAt:  metaTime(&r.IssuedAt),
		ExpiresAt: metaTime(r.ExpiresAt),
	}
	if isRebuilt(r) {
		key.State = stateUnreadable
	}
	return key
}

// newestFirst orders records by their serial, and those of one serial by their issue.
func newestFirst(a, b *apikey.Record) int {
	if order := cmp.Compare(b.Serial, a.Serial); order != 0 {
		return order
	}
	if order := b.IssuedAt.Compare(a.IssuedAt); order != 0 {
		return order
	}
	return bytes.Compare(a.Digest[:], b.Digest[:])
}

// metaTime is t as the API writes it: to the second. The zero time, which it can't
// write, is left out.
func metaTime(t *time.Time) *metav1.Time {
	if t == nil || t.IsZero() {
		return nil
	}
	at := metav1.NewTime(t.Local().Truncate(time.Second))
	return &at
}
