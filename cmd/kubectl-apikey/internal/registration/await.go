package registration

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
)

// Refused is an APIKey that the controller judged, and that does not work.
type Refused struct{ Name, Why string }

// Await waits until the controller has judged all that is there of a result. It returns
// those that do not work, and how many are left where ctx ended.
func (r *Registration) Await(ctx context.Context, result Result) ([]Refused, int, error) {
	left := map[string]bool{}
	for _, name := range result.there {
		left[name] = true
	}
	if len(left) == 0 {
		return nil, 0, nil
	}
	var refused []Refused
	err := r.Cluster.WaitAll(ctx, func(key *v1alpha1.APIKey) bool {
		ready := cluster.Ready(key)
		if !left[key.Name] || ready == nil || ready.Reason == v1alpha1.ReasonPending {
			return false
		}
		delete(left, key.Name)
		if ready.Status != metav1.ConditionTrue {
			refused = append(refused, Refused{key.Name, ready.Reason + ": " + ready.Message})
		}
		return len(left) == 0
	})
	return refused, len(left), err
}
