package reconcile

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// issuedAt is when the newest token was issued: now, to the second as it would be
// written, where there is none.
func (f *facts) issuedAt() (at time.Time, issued bool) {
	for _, r := range f.records {
		if r.State != apikey.Pending && r.IssuedAt.After(at) {
			at, issued = r.IssuedAt, true
		}
	}
	if !issued {
		at = f.now.UTC().Truncate(time.Second)
	}
	return at, issued
}

// life is how long the newest token lives from its issue on; nil: without an end.
func (f *facts) life() *time.Duration {
	if f.key.Spec.ExpiresAt == nil {
		return nil
	}
	issuedAt, _ := f.issuedAt()
	life := f.key.Spec.ExpiresAt.Sub(issuedAt)
	return &life
}

// refusedLife says how long a key may live, and what to do. Of a key that is not
// issued yet the message names no time: it would be another one at each look.
func (f *facts) refusedLife(longest time.Duration) string {
	policy, remedy := fmt.Sprintf("the policy %s grants the namespace %s", policyOf(f.key), f.key.Namespace), "or ask the policy's owner for a grant"
	issuedAt, issued := f.issuedAt()
	switch {
	case longest == 0:
		return fmt.Sprintf("%s only keys that expire: set spec.expiresAt, %s", policy, remedy)
	case issued:
		return fmt.Sprintf("%s only keys that live %s at the most: set spec.expiresAt to %s or earlier, %s", policy, hours(longest), issuedAt.Add(longest).UTC().Format(time.RFC3339), remedy)
	}
	return fmt.Sprintf("%s only keys that live %s at the most: set spec.expiresAt to a time that is no further away than that, %s", policy, hours(longest), remedy)
}

// hours is a duration as people write it in a policy, such as "2160h" or "1h30m".
func hours(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// grantedFrom is when the life of a key that is not issued yet will have become short
// enough; zero: never, or it is.
func (f *facts) grantedFrom(issued bool, grant entitlement) time.Time {
	if issued || grant.lifeRefused == "" || grant.LongestLife == 0 || f.key.Spec.ExpiresAt == nil {
		return time.Time{}
	}
	at := f.key.Spec.ExpiresAt.Add(-grant.LongestLife)
	return at.Add(time.Second - 1).Truncate(time.Second) // tokens are issued to the second
}

// expiring is the ExpiringSoon condition: none where there is no end to tell of, or
// the key has ended for good.
func (f *facts) expiring(final obstacle) []metav1.Condition {
	if f.key.Spec.ExpiresAt == nil || final.reason == v1alpha1.ReasonRevoked {
		return nil
	}
	end := f.key.Spec.ExpiresAt.UTC()
	from, at := end.Add(-f.soon), end.Format(time.RFC3339)
	condition := no(v1alpha1.ConditionExpiringSoon, v1alpha1.ReasonExpiresLater, "the key expires at "+at+"; it is soon from "+from.Format(time.RFC3339)+" on")
	switch {
	case !f.now.Before(end):
		condition = no(v1alpha1.ConditionExpiringSoon, v1alpha1.ReasonExpired, "the key expired at "+at)
	case !f.now.Before(from):
		condition = yes(v1alpha1.ConditionExpiringSoon, v1alpha1.ReasonExpiresSoon, "the key expires at "+at+": set spec.expiresAt to a later time, or apply a new APIKey in its place")
	}
	return []metav1.Condition{condition}
}
