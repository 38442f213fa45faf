package reconcile

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/pkg/usage"
)

// TestTurnLease: the Lease that extauthz takes turns by is there, under the shipped rights,
// also after somebody has deleted it; and its holder stays.
func TestTurnLease(t *testing.T) {
	c := newCluster(t)
	c.start(func(o *Options) { o.turnsEvery = 50 * time.Millisecond })
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: usage.LeaseName}}
	there := func() error { return c.admin.Get(t.Context(), client.ObjectKeyFromObject(lease), lease) }
	for range 2 {
		c.eventually(there)
		must(t, c.admin.Delete(t.Context(), lease))
	}
	c.eventually(there)
	holder := "a-replica"
	lease.Spec.HolderIdentity = &holder
	must(t, c.admin.Update(t.Context(), lease))
	c.issued("meanwhile")
	must(t, there())
	if got := lease.Spec.HolderIdentity; got == nil || *got != holder {
		t.Errorf("the turn of %s is now of %v", holder, got)
	}
}
