package view

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/lifetime"
	"keygate.dev/keygate/pkg/apikey"
)

// columns are those of the list of APIKeys; the last ones are wide.
var columns = []metav1.TableColumnDefinition{
	{Name: "Name", Type: "string", Format: "name"},
	{Name: "Policy", Type: "string"},
	{Name: "State", Type: "string"},
	{Name: "Scopes", Type: "string"},
	{Name: "Plan", Type: "string"},
	{Name: "Expires", Type: "string"},
	{Name: "Last Used", Type: "string"},
	{Name: "Age", Type: "string"},
	{Name: "Hint", Type: "string", Priority: 1},
	{Name: "Environment", Type: "string", Priority: 1},
	{Name: "Live Tokens", Type: "integer", Priority: 1},
	{Name: "Display Name", Type: "string", Priority: 1},
}

// Table is APIKeys as a table, for a printer of tables.
func Table(keys []v1alpha1.APIKey, now time.Time) *metav1.Table {
	table := &metav1.Table{ColumnDefinitions: columns}
	for i := range keys {
		key := &keys[i]
		state, _ := State(key)
		table.Rows = append(table.Rows, metav1.TableRow{
			Cells: []any{
				key.Name, cluster.PolicyOf(key).String(), state, scopes(key.Status.Scopes), orNone(key.Status.Plan),
				lifetime.Say(timeOf(ends(key)), now), lifetime.Say(timeOf(key.Status.LastUsedAt), now),
				duration.HumanDuration(now.Sub(key.CreationTimestamp.Time)),
				orNone(key.Status.Hint), orNone(key.Status.Environment), live(key, now), orNone(key.Spec.DisplayName),
			},
			Object: runtime.RawExtension{Object: &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}},
		})
	}
	return table
}

// ends is when an APIKey expires; nil: never.
func ends(key *v1alpha1.APIKey) *metav1.Time { return key.Spec.ExpiresAt }

// live is how many tokens of an APIKey let callers in.
func live(key *v1alpha1.APIKey, now time.Time) (n int64) {
	for _, token := range key.Status.Keys {
		if token.State == string(apikey.Active) && (token.ExpiresAt == nil || token.ExpiresAt.After(now)) {
			n++
		}
	}
	return n
}

// timeOf is a time of the API.
func timeOf(t *metav1.Time) *time.Time {
	if t == nil {
		return nil
	}
	return &t.Time
}

// Filter says which APIKeys are listed. The zero Filter lists all.
type Filter struct {
	// Unused lists those that nobody was let in with for so long, and that are as old.
	Unused time.Duration
	// Expiring lists those that expire within this time.
	Expiring time.Duration
	// Policy lists those of one, "namespace/name".
	Policy string
	// Now is the clock.
	Now time.Time
}

// Fits reports whether an APIKey is listed.
func (f *Filter) Fits(key *v1alpha1.APIKey) bool {
	if f.Policy != "" && cluster.PolicyOf(key).String() != f.Policy {
		return false
	}
	if f.Unused > 0 {
		last := key.CreationTimestamp.Time
		if key.Status.LastUsedAt != nil {
			last = key.Status.LastUsedAt.Time
		}
		if last.After(f.Now.Add(-f.Unused)) || over(key, f.Now) {
			return false
		}
	}
	if f.Expiring > 0 {
		end := ends(key)
		if end == nil || end.After(f.Now.Add(f.Expiring)) || over(key, f.Now) {
			return false
		}
	}
	return true
}

// over reports whether an APIKey is expired or revoked: there is nothing to do about it.
func over(key *v1alpha1.APIKey, now time.Time) bool {
	return key.Spec.State == v1alpha1.StateRevoked || ends(key) != nil && !ends(key).After(now)
}
