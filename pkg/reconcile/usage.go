package reconcile

import (
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// unlessUsage passes over changes of nothing but when an APIKey was last used:
// extauthz writes that, minute by minute, and nothing follows from it. Whatever else
// changes is looked at, the rest of the status too, which may have been forged.
var unlessUsage = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*v1alpha1.APIKey)
	after, alike := e.ObjectNew.(*v1alpha1.APIKey)
	if !ok || !alike || before.ResourceVersion == after.ResourceVersion {
		return true // nothing changed: somebody wants it looked at
	}
	old, next := withoutUsage(before), withoutUsage(after)
	return !equality.Semantic.DeepEqual(&old, &next)
}}

// withoutUsage is a shallow copy without what extauthz writes, and what the API
// server writes along.
func withoutUsage(key *v1alpha1.APIKey) v1alpha1.APIKey {
	rest := *key
	rest.ResourceVersion, rest.ManagedFields = "", nil
	rest.Status.LastUsedAt, rest.Status.Usage = nil, nil
	return rest
}

// usageOf is the usage of the tokens that there are records of. The API takes that of
// 32, and an APIKey that rotates has more in time.
func usageOf(usage map[string]metav1.Time, records []*apikey.Record) map[string]metav1.Time {
	known := map[string]bool{}
	for _, r := range records {
		known[r.Digest.ID()] = true
	}
	kept := maps.Clone(usage)
	maps.DeleteFunc(kept, func(id string, _ metav1.Time) bool { return !known[id] })
	return kept
}
