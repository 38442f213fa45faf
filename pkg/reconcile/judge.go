package reconcile

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// failure is why a token could not be delivered, and when to try again.
type failure struct {
	// reason is DeliveryConflict or DeliveryFailed.
	reason, message string
	// until is when it is tried again.
	until time.Time
}

// obstacle is why a key does not work, or is not minted; the zero value: nothing is
// in the way. The message says what to do.
type obstacle struct{ reason, message string }

func (o obstacle) stands() bool { return o.reason != "" }

// judge sets the conditions, and whether to mint. What is asked for need not all be
// granted for a rotation: the key has it or not, whatever its token.
func (f *facts) judge(d *desired, s *succession, grant entitlement) {
	final, refused := f.final(d.elected), f.refused(d, grant)
	serial, due := f.due(s)
	issued := works(d.elected)
	hindered := final.stands() || refused.stands()
	if issued {
		hindered = final.stands() || !grant.inForce()
	}
	d.serial = serial
	d.mint = due && !hindered && !(issued && f.doubtful != "") && !(f.failure != nil && f.now.Before(f.failure.until))
	f.schedule(d, final.stands())
	rotating := issued && due && !hindered
	d.ready = f.ready(d, rotating, final, refused)
	d.delivered = f.delivery(d, rotating, final.stands() || refused.stands())
	if registers(f.key) {
		d.delivered = registration(issued)
	}
	d.expiring = f.expiring(final)
	d.grantedFrom = f.grantedFrom(issued, grant)
}

// final is what stands in the way whatever the policy says. What cannot be read can
// have no end but revocation: extauthz may go by the expiry that it last read.
func (f *facts) final(elected *apikey.Record) obstacle {
	switch {
	case f.key.Spec.State == v1alpha1.StateRevoked || elected != nil && elected.State == apikey.Revoked:
		return obstacle{v1alpha1.ReasonRevoked, "the key is revoked for good: apply a new APIKey in its place"}
	case f.unreadable != "":
		return obstacle{v1alpha1.ReasonRecordInvalid, fmt.Sprintf("the stored Secret %s carries no seal of this installation: an operator must restore it, or the root Secret, from a backup; or delete it, and the key is issued anew. Until then, callers may be let in as before; to end that, revoke or delete the APIKey", f.unreadable)}
	case f.key.Spec.ExpiresAt != nil && !f.now.Before(f.key.Spec.ExpiresAt.Time):
		return obstacle{v1alpha1.ReasonExpired, "the key expired at " + stamp(f.key.Spec.ExpiresAt.Time) + ": set spec.expiresAt to a later time, or apply a new APIKey"}
	}
	return obstacle{}
}

// refused is what the policy does not grant. A policy that is not there and one
// that grants this namespace nothing read alike, so that names can't be probed.
func (f *facts) refused(d *desired, grant entitlement) obstacle {
	ref := policyOf(f.key)
	switch {
	case f.policy == nil && f.declared && ref.Namespace == f.key.Namespace:
		return obstacle{v1alpha1.ReasonPolicyNotAccepted, fmt.Sprintf("the policy %s is not accepted yet: see its Accepted condition", ref)}
	case !grant.Known:
		return obstacle{v1alpha1.ReasonPolicyNotFound, fmt.Sprintf("there is no policy %s that grants keys to the namespace %s: check spec.policyRef, or ask the policy's owner for a grant", ref, f.key.Namespace)}
	case !grant.EnvironmentGranted:
		return obstacle{v1alpha1.ReasonEnvironmentNotGranted, fmt.Sprintf("the policy %s grants the namespace %s no keys of the environment %q: apply a new APIKey for another one, or ask the policy's owner for a grant", ref, f.key.Namespace, d.environment)}
	case grant.planRefused != "":
		return obstacle{v1alpha1.ReasonPlanNotGranted, grant.planRefused}
	case grant.lifeRefused != "":
		return obstacle{v1alpha1.ReasonLifetimeNotGranted, grant.lifeRefused}
	case len(grant.Missing) > 0:
		return obstacle{v1alpha1.ReasonScopesNotGranted, f.missingScopes(d, grant)}
	case f.taken:
		return duplicate
	}
	return obstacle{}
}

func (f *facts) missingScopes(d *desired, grant entitlement) string {
	remedy := "take them out of spec.scopes, or ask the policy's owner for a grant"
	missing := strings.Join(grant.Missing, " ")
	if !works(d.elected) {
		return fmt.Sprintf("not granted: %s. No token is issued until all scopes are granted: %s", missing, remedy)
	}
	if len(grant.Scopes) == 0 {
		return fmt.Sprintf("not granted: %s. The key works without any scope: %s", missing, remedy)
	}
	return fmt.Sprintf("not granted: %s. The key works with: %s. To get the rest: %s", missing, strings.Join(grant.Scopes, " "), remedy)
}

// ready is the Ready condition: the first of what stands in the way.
func (f *facts) ready(d *desired, rotating bool, final, refused obstacle) metav1.Condition {
	suspended := f.key.Spec.State == v1alpha1.StateSuspended
	switch {
	case final.stands():
		return no(v1alpha1.ConditionReady, final.reason, final.message)
	case suspended:
		return no(v1alpha1.ConditionReady, v1alpha1.ReasonSuspended, "callers are turned away until spec.state is Active again")
	case refused.stands():
		return no(v1alpha1.ConditionReady, refused.reason, refused.message)
	case works(d.elected):
		return yes(v1alpha1.ConditionReady, v1alpha1.ReasonActive, "callers are let in with the key"+f.overlapHint(d)+f.rotationHint(rotating))
	case f.failure != nil:
		return no(v1alpha1.ConditionReady, f.failure.reason, f.failure.message)
	}
	return no(v1alpha1.ConditionReady, v1alpha1.ReasonPending, "the token is being issued: one that is collected before the key is Ready may not work")
}

// delivery is the Delivered condition.
func (f *facts) delivery(d *desired, rotating, hindered bool) metav1.Condition {
	r := d.elected
	switch {
	case rotating && f.failure != nil:
		return no(v1alpha1.ConditionDelivered, f.failure.reason, f.failure.message+". The new token is tried again; the one before it works on")
	case rotating:
		return no(v1alpha1.ConditionDelivered, v1alpha1.ReasonPending, "a new token is to be delivered, see the Ready condition; the one before it works on")
	case r != nil && r.DeliveredAt != nil && r.HandedOver:
		return yes(v1alpha1.ConditionDelivered, v1alpha1.ReasonHandedOver, handedOverHint(r))
	case r != nil && r.DeliveredAt != nil:
		return yes(v1alpha1.ConditionDelivered, v1alpha1.ReasonDelivered, f.collectHint(r))
	case f.failure != nil:
		return no(v1alpha1.ConditionDelivered, f.failure.reason, f.failure.message)
	case r != nil && r.IssuedAt.IsZero():
		return no(v1alpha1.ConditionDelivered, v1alpha1.ReasonRecordInvalid, "what the stored record said of the delivery is lost; the token no longer works")
	case hindered || r != nil && r.State == apikey.Revoked:
		return no(v1alpha1.ConditionDelivered, v1alpha1.ReasonNothingIssued, "no token was issued; the Ready condition says why")
	}
	return no(v1alpha1.ConditionDelivered, v1alpha1.ReasonPending, "the token is being delivered")
}

func (f *facts) collectHint(r *apikey.Record) string {
	where := "the token is in the Secret " + deliveryName(f.key)
	if due := f.collectBy(r); !due.IsZero() {
		return where + " until " + stamp(due) + ": read it and delete the Secret"
	}
	return where + ", which stays until the APIKey is deleted"
}

// deliveryName is the name of an APIKey's delivery Secret.
func deliveryName(key *v1alpha1.APIKey) string {
	if key.Spec.Delivery.SecretName != "" {
		return key.Spec.Delivery.SecretName
	}
	return key.Name
}

func yes(condition, reason, message string) metav1.Condition {
	return metav1.Condition{Type: condition, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

func no(condition, reason, message string) metav1.Condition {
	return metav1.Condition{Type: condition, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}
