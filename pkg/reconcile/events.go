package reconcile

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientevents "k8s.io/client-go/tools/events"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/audit"
	"keygate.dev/keygate/pkg/scrub"
)

// maxNote is the longest note of an Event (events.k8s.io/v1), in bytes.
const maxNote = 1024

// Reasons of Events that are not reasons of conditions.
const (
	eventIssued         = "Issued"
	eventDelivered      = "Delivered"
	eventHandedOver     = "HandedOver"
	eventRotated        = "Rotated"
	eventRotatingSoon   = "RotatingSoon"
	eventOverlapEnded   = "OverlapEnded"
	eventRevoked        = "Revoked"
	eventSuspended      = "Suspended"
	eventResumed        = "Resumed"
	eventNotGranted     = "NotGranted"
	eventExpired        = "Expired"
	eventRegistered     = "Registered"
	eventExpiringSoon   = "ExpiringSoon"
	eventRecordRestored = "RecordRestored"
	eventAdopted        = "Adopted"
	eventPolicyAccepted = "PolicyAccepted"
	eventPolicyInvalid  = "PolicyInvalid"
	eventHostConflict   = "HostConflict"
)

// events tells people what happened to their objects, in Events and in the audit
// stream. Notes name keys by their id, and never hold a token.
type events struct {
	recorder clientevents.EventRecorder
	audit    *audit.Log
}

func (e *events) normal(about runtime.Object, reason, action, note string, args ...any) {
	e.recorder.Eventf(about, nil, corev1.EventTypeNormal, reason, action, note, args...)
}

func (e *events) warn(about runtime.Object, reason, action, note string) {
	e.recorder.Eventf(about, nil, corev1.EventTypeWarning, reason, action, "%s", atMost(maxNote, scrub.Text(note)))
}

// held tells of an APIKey that the controller takes charge of.
func (e *events) held(key *v1alpha1.APIKey) {
	e.tell(audit.Created, key, nil, writer(key, nil), "")
}

// issued tells of a token that works from now on.
func (e *events) issued(key *v1alpha1.APIKey, r *apikey.Record) {
	e.normal(key, eventIssued, "Mint", "key %s was issued for policy %s/%s", r.Digest.ID(), r.Policy.Namespace, r.Policy.Name)
	e.delivered(key, r)
}

func (e *events) delivered(key *v1alpha1.APIKey, r *apikey.Record) {
	e.tell(audit.Delivered, key, r, "", "the token is in the Secret "+deliveryName(key))
	e.normal(key, eventDelivered, "Deliver", "the token of key %s is in the Secret %s", r.Digest.ID(), deliveryName(key))
}

// rotated tells of a token that took the place of another one, which works until end.
func (e *events) rotated(key *v1alpha1.APIKey, before, after *apikey.Record, end time.Time) {
	until := "works until " + stamp(end)
	if !end.After(*after.DeliveredAt) {
		until = "no longer works"
	}
	actor := editor(key, serialField)
	if before.Rotation == after.Rotation {
		actor = byRotation
	}
	e.tell(audit.Rotated, key, before, actor, "key "+after.Digest.ID()+" takes its place; it "+until)
	e.normal(key, eventRotated, "Rotate", "key %s takes the place of key %s, which %s", after.Digest.ID(), before.Digest.ID(), until)
	e.delivered(key, after)
}

// registered tells of a key that was made elsewhere and works from now on.
func (e *events) registered(key *v1alpha1.APIKey, r *apikey.Record) {
	e.tell(audit.Registered, key, r, "", "")
	e.normal(key, eventRegistered, "Register", "key %s was registered for policy %s/%s", r.Digest.ID(), r.Policy.Namespace, r.Policy.Name)
}

// undelivered tells why no token could be delivered.
func (e *events) undelivered(key *v1alpha1.APIKey, why *failure) {
	e.warn(key, why.reason, "Deliver", why.message)
}

// handedOver tells that the delivery Secret of a token is gone; found: it was there
// until the controller deleted it.
func (e *events) handedOver(key *v1alpha1.APIKey, r *apikey.Record, found bool) {
	id := r.Digest.ID()
	reported := key.Annotations[v1alpha1.AnnotationCollected] == id
	switch {
	case reported:
		e.tell(audit.Collected, key, r, writer(key, collectedField), "")
		e.normal(key, eventHandedOver, "Collect", "the token of key %s was collected, and its delivery Secret is gone", id)
	case found:
		e.tell(audit.Uncollected, key, r, "", "nobody collected the token in time, and its Secret was deleted")
		e.normal(key, eventHandedOver, "Collect", "nobody collected the token of key %s in time: its delivery Secret was deleted", id)
	default:
		e.tell(audit.Collected, key, r, "", "its Secret was gone before its time was up")
		e.normal(key, eventHandedOver, "Collect", "the delivery Secret of key %s is gone", id)
	}
}

// turns are what is told of a record that came into a state.
var turns = map[apikey.State]struct {
	tell audit.Event
	// field whose editor may have asked for it; nil: nobody does.
	field                fieldpath.Path
	reason, action, note string
}{
	apikey.Revoked:    {audit.Revoked, stateField, eventRevoked, "Revoke", "is revoked for good"},
	apikey.Suspended:  {audit.Suspended, stateField, eventSuspended, "Suspend", "is suspended"},
	apikey.Rotated:    {audit.Ended, overlapField, eventOverlapEnded, "Rotate", "no longer works: its overlap with its successor is over"},
	apikey.NotGranted: {audit.NotGranted, nil, eventNotGranted, "Judge", "is no longer granted; see the Ready condition"},
	apikey.Active:     {audit.Resumed, stateField, eventResumed, "Resume", "works again"},
}

// amended tells of a record that was changed.
func (e *events) amended(key *v1alpha1.APIKey, before, after *apikey.Record) {
	if turn, known := turns[after.State]; known && after.State != before.State {
		e.tell(turn.tell, key, after, editor(key, turn.field), "")
		e.normal(key, turn.reason, turn.action, "key %s %s", after.Digest.ID(), turn.note)
		return
	}
	if field, changes := edits(before, after); changes != "" && !dead(after) {
		e.tell(audit.Edited, key, after, editor(key, field), changes)
	}
}

// buried tells of an APIKey that is gone, and of its keys.
func (e *events) buried(key *v1alpha1.APIKey, records int) {
	e.tell(audit.Deleted, key, nil, "", fmt.Sprintf("its %d keys let nobody in any more", records))
}

// reported tells of a status that time alone changed.
func (e *events) reported(key *v1alpha1.APIKey, before, after []metav1.Condition) {
	if became(before, after, v1alpha1.ConditionReady, v1alpha1.ReasonExpired) {
		e.tell(audit.Expired, key, nil, editor(key, expiresField), "")
		e.normal(key, eventExpired, "Expire", "the key expired")
	}
	if became(before, after, v1alpha1.ConditionRotatingSoon, v1alpha1.ReasonRotatingSoon) {
		e.normal(key, eventRotatingSoon, "Rotate", "%s", meta.FindStatusCondition(after, v1alpha1.ConditionRotatingSoon).Message)
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
	e.tell(audit.Restored, key, nil, "", "somebody other than the controller changed or deleted the stored Secret "+secretName+": it was put back")
	e.warn(key, eventRecordRestored, "Restore", "somebody other than the controller changed or deleted the stored Secret "+secretName+": it was put back")
}

// adopted tells of an APIKey that took over the keys of the one that it was before.
func (e *events) adopted(key *v1alpha1.APIKey, records int) {
	e.normal(key, eventAdopted, "Adopt", "%d stored records of the APIKey of this name were taken over from a backup", records)
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
