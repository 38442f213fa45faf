package reconcile

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientevents "k8s.io/client-go/tools/events"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/scrub"
)

// maxNote is the longest note of an Event (events.k8s.io/v1), in bytes.
const maxNote = 1024

// Reasons of Events that are not reasons of conditions.
const (
	eventIssued         = "Issued"
	eventDelivered      = "Delivered"
	eventHandedOver     = "HandedOver"
	eventRevoked        = "Revoked"
	eventSuspended      = "Suspended"
	eventResumed        = "Resumed"
	eventNotGranted     = "NotGranted"
	eventExpired        = "Expired"
	eventRegistered     = "Registered"
	eventExpiringSoon   = "ExpiringSoon"
	eventRecordRestored = "RecordRestored"
	eventPolicyAccepted = "PolicyAccepted"
	eventPolicyInvalid  = "PolicyInvalid"
	eventHostConflict   = "HostConflict"
)

// events tells people what happened to their objects. Notes name keys by their id,
// and never hold a token.
type events struct {
	recorder clientevents.EventRecorder
}

func (e *events) normal(about runtime.Object, reason, action, note string, args ...any) {
	e.recorder.Eventf(about, nil, corev1.EventTypeNormal, reason, action, note, args...)
}

func (e *events) warn(about runtime.Object, reason, action, note string) {
	e.recorder.Eventf(about, nil, corev1.EventTypeWarning, reason, action, "%s", atMost(maxNote, scrub.Text(note)))
}

// issued tells of a token that works from now on.
func (e *events) issued(key *v1alpha1.APIKey, r *apikey.Record) {
	e.normal(key, eventIssued, "Mint", "key %s was issued for policy %s/%s", r.Digest.ID(), r.Policy.Namespace, r.Policy.Name)
	e.normal(key, eventDelivered, "Deliver", "the token of key %s is in the Secret %s", r.Digest.ID(), deliveryName(key))
}

// registered tells of a key that was made elsewhere and works from now on.
func (e *events) registered(key *v1alpha1.APIKey, r *apikey.Record) {
	e.normal(key, eventRegistered, "Register", "key %s was registered for policy %s/%s", r.Digest.ID(), r.Policy.Namespace, r.Policy.Name)
}

// undelivered tells why no token could be delivered.
func (e *events) undelivered(key *v1alpha1.APIKey, why *failure) {
	e.warn(key, why.reason, "Deliver", why.message)
}

// amended tells of a record that was changed.
func (e *events) amended(key *v1alpha1.APIKey, before, after *apikey.Record) {
	id := after.Digest.ID()
	if after.HandedOver && !before.HandedOver {
		e.normal(key, eventHandedOver, "Collect", "the delivery Secret of key %s is gone", id)
	}
	if after.State == before.State {
		return
	}
	switch after.State {
	case apikey.Revoked:
		e.normal(key, eventRevoked, "Revoke", "key %s is revoked for good", id)
	case apikey.Suspended:
		e.normal(key, eventSuspended, "Suspend", "key %s is suspended", id)
	case apikey.NotGranted:
		e.normal(key, eventNotGranted, "Judge", "key %s is no longer granted; see the Ready condition", id)
	case apikey.Active:
		e.normal(key, eventResumed, "Resume", "key %s works again", id)
	}
}

// reported tells of a status that time alone changed.
func (e *events) reported(key *v1alpha1.APIKey, before, after []metav1.Condition) {
	if became(before, after, v1alpha1.ConditionReady, v1alpha1.ReasonExpired) {
		e.normal(key, eventExpired, "Expire", "the key expired")
	}
	if became(before, after, v1alpha1.ConditionExpiringSoon, v1alpha1.ReasonExpiresSoon) {
		e.warn(key, eventExpiringSoon, "Expire", meta.FindStatusCondition(after, v1alpha1.ConditionExpiringSoon).Message)
	}
}

// restored tells the owner of a Secret that somebody changed it behind the
// controller's back.
func (e *events) restored(owner apikey.Ref, secretName string) {
	key := &v1alpha1.APIKey{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "APIKey"},
		ObjectMeta: metav1.ObjectMeta{Namespace: owner.Namespace, Name: owner.Name, UID: types.UID(owner.UID)},
	}
	e.warn(key, eventRecordRestored, "Restore", "somebody other than the controller changed or deleted the stored Secret "+secretName+": it was put back")
}

// policyReported tells of a policy whose conditions changed.
func (e *events) policyReported(p *v1alpha1.APIKeyPolicy, before, after []metav1.Condition) {
	for _, each := range []struct{ condition, reason, event, action string }{
		{v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, eventPolicyAccepted, "Accept"},
		{v1alpha1.ConditionAccepted, v1alpha1.ReasonInvalid, eventPolicyInvalid, "Accept"},
		{v1alpha1.ConditionAccepted, v1alpha1.ReasonTooLarge, eventPolicyInvalid, "Accept"},
		{v1alpha1.ConditionHostsClaimed, v1alpha1.ReasonHostConflict, eventHostConflict, "Claim"},
	} {
		if !became(before, after, each.condition, each.reason) {
			continue
		}
		condition := meta.FindStatusCondition(after, each.condition)
		if condition.Status == metav1.ConditionTrue {
			e.normal(p, each.event, each.action, "%s", condition.Message)
			continue
		}
		e.warn(p, each.event, each.action, condition.Message)
	}
}

// became reports whether a condition has a reason that it did not have before.
func became(before, after []metav1.Condition, condition, reason string) bool {
	now, old := meta.FindStatusCondition(after, condition), meta.FindStatusCondition(before, condition)
	return now != nil && now.Reason == reason && (old == nil || old.Reason != reason)
}

// policyRestored tells of a policy whose accepted form was put back.
func (e *events) policyRestored(p *v1alpha1.APIKeyPolicy, secretName string) {
	e.warn(p, eventRecordRestored, "Restore", "somebody other than the controller changed or deleted the stored Secret "+secretName+": it was put back")
}
