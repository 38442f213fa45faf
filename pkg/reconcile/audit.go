package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/audit"
)

// byRotation is the actor of what spec.rotation.every brings about.
const byRotation = "rotation.every"

// tell writes a line about a token of an APIKey, or, where r is nil, about the APIKey
// as a whole.
func (e *events) tell(event audit.Event, key *v1alpha1.APIKey, r *apikey.Record, actor, note string) {
	entry := audit.Entry{
		Event:     event,
		Namespace: key.Namespace,
		Name:      key.Name,
		UID:       string(key.UID),
		Policy:    policyOf(key).String(),
		Actor:     actor,
		Note:      note,
	}
	if r != nil {
		entry.KeyID, entry.Serial = r.Digest.ID(), r.Serial
	}
	e.audit.Write(context.Background(), entry)
}

// Fields of an APIKey that somebody's edit of is told.
var (
	expiresField   = fieldpath.MakePathOrDie("spec", "expiresAt")
	stateField     = fieldpath.MakePathOrDie("spec", "state")
	serialField    = fieldpath.MakePathOrDie("spec", "rotation", "serial")
	overlapField   = fieldpath.MakePathOrDie("spec", "rotation", "overlap")
	collectedField = fieldpath.MakePathOrDie("metadata", "annotations", v1alpha1.AnnotationCollected)
)

// editor is the field manager whose edit of a field is being acted upon, "" where it
// is not an edit: then the clock, or the policy, changed what ought to be. That the
// status tells the two apart is for this label alone.
func editor(key *v1alpha1.APIKey, field fieldpath.Path) string {
	if key.Generation == key.Status.ObservedGeneration {
		return ""
	}
	return writer(key, field)
}

// writer is the field manager that set a field of an APIKey last. Where nobody owns
// it (nil, or it was taken out), it is who wrote the APIKey last, but for Keygate.
func writer(key *v1alpha1.APIKey, field fieldpath.Path) string {
	var last, owner metav1.ManagedFieldsEntry
	for _, entry := range key.ManagedFields {
		if entry.Manager == string(fieldOwner) || entry.Subresource != "" {
			continue
		}
		last = later(last, entry)
		if owns(entry, field) {
			owner = later(owner, entry)
		}
	}
	if owner.Manager != "" {
		return owner.Manager
	}
	return last.Manager
}

// later is the one of two entries that was written later.
func later(a, b metav1.ManagedFieldsEntry) metav1.ManagedFieldsEntry {
	if a.Time == nil || b.Time != nil && b.Time.After(a.Time.Time) {
		return b
	}
	return a
}

// owns reports whether an entry owns a field, or something below it.
func owns(entry metav1.ManagedFieldsEntry, field fieldpath.Path) bool {
	if field == nil || entry.FieldsV1 == nil {
		return false
	}
	set := fieldpath.NewSet()
	if err := set.FromJSON(entry.FieldsV1.GetRawReader()); err != nil {
		return false
	}
	if set.Has(field) {
		return true
	}
	for _, element := range field {
		set = set.WithPrefix(element)
	}
	return !set.Empty()
}

// keepManagers leaves of an APIKey's managed fields those that people and their tools
// wrote. The status is the other half of them.
func keepManagers(o any) (any, error) {
	key, ok := o.(*v1alpha1.APIKey)
	if !ok {
		return o, nil // the tombstone of one that was deleted
	}
	key.ManagedFields = slices.DeleteFunc(key.ManagedFields, func(entry metav1.ManagedFieldsEntry) bool {
		return entry.Manager == string(fieldOwner) || entry.Subresource != ""
	})
	return key, nil
}

// edits says what of a record in force changed, and the field of the spec that the
// first change comes from; "": nothing that was asked for. The end that a successor
// gave it is told when it does.
func edits(before, after *apikey.Record) (field fieldpath.Path, changes string) {
	var changed []string
	say := func(member, text string) {
		if field == nil {
			field = fieldpath.MakePathOrDie("spec", member)
		}
		changed = append(changed, text)
	}
	note := func(member, what, from, to string) {
		if from != to {
			say(member, fmt.Sprintf("%s: %s → %s", what, orNone(from), orNone(to)))
		}
	}
	note("scopes", "scopes", strings.Join(before.Scopes, " "), strings.Join(after.Scopes, " "))
	note("plan", "plan", before.Plan, after.Plan)
	switch {
	case (before.SupersededAt == nil) != (after.SupersededAt == nil):
	case after.SupersededAt != nil:
		note("rotation", "expires", moment(before.ExpiresAt), moment(after.ExpiresAt))
	default:
		note("expiresAt", "expires", moment(before.ExpiresAt), moment(after.ExpiresAt))
	}
	note("allowedCIDRs", "networks", fmt.Sprint(before.AllowedCIDRs), fmt.Sprint(after.AllowedCIDRs))
	if !maps.Equal(before.Metadata, after.Metadata) { // values are the holder's own
		say("metadata", "metadata: now "+orNone(strings.Join(slices.Sorted(maps.Keys(after.Metadata)), " ")))
	}
	return field, strings.Join(changed, "; ")
}

func orNone(text string) string {
	if text == "" || text == "[]" {
		return "none"
	}
	return text
}

func moment(at *time.Time) string {
	if at == nil {
		return ""
	}
	return stamp(*at)
}
