package reconcile

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

// TestLateListener: a listener that lags tells of a change after it was undone. The
// APIKey, that is or was, is held no longer than until it is looked at once.
func TestLateListener(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	key := c.issued("victim")
	c.settled(key)
	stop()
	good := c.recordSecret(key)
	bad := good.DeepCopy()
	delete(bad.Data, "seal")
	s := &store{client: c.admin, live: c.admin, sealer: c.root().Sealer, namespace: keysNamespace}
	d := newDrift(s.sealer, c.clock.now)
	r := &keys{store: s, drift: d, restore: (&sweeper{store: s, drift: d, now: c.clock.now}).restore}
	for name, owner := range map[string]bool{"an APIKey that is there": true, "one that is gone": false} {
		t.Run(name, func(t *testing.T) {
			if !owner {
				c.patch(key, `{"metadata":{"finalizers":null}}`)
				must(t, c.admin.Delete(t.Context(), key))
				c.gone(key)
			}
			d.observe(good, bad)
			result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(key)})
			must(t, err)
			if result.RequeueAfter != lookAgain {
				t.Errorf("it is looked at again after %s", result.RequeueAfter)
			}
			if held := d.heldOf(client.ObjectKeyFromObject(key)); len(held) > 0 {
				t.Errorf("held by %d Secrets", len(held))
			}
			if got := c.recordSecret(key); got.ResourceVersion != good.ResourceVersion {
				t.Error("the record was written")
			}
		})
	}
}

// What is changed again while it is being put back is not forgotten.
func TestChangedAgain(t *testing.T) {
	root, err := keysecret.ParseRoot(keysecret.NewRootSecret(systemNamespace))
	must(t, err)
	good, err := root.Sealer.EncodeRecord(keysNamespace, aRecord(1))
	must(t, err)
	bad := good.DeepCopy()
	delete(bad.Data, "seal")
	d := newDrift(root.Sealer, time.Now)
	d.observe(good, bad)
	lost, _ := d.lost(good.Name)
	d.observe(good, bad)
	d.settle(good.Name, lost)
	again, ok := d.lost(good.Name)
	if !ok {
		t.Fatal("it was forgotten")
	}
	d.settle(good.Name, again)
	if _, ok := d.lost(good.Name); ok {
		t.Error("it is never forgotten")
	}
}

// A policy that was put back is not judged by what a listener tells of it late.
func TestLatePolicy(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	c.policyBecomes(c.policy, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted)
	stop()
	s := &store{client: c.admin, live: c.admin, sealer: c.root().Sealer, namespace: keysNamespace}
	d := newDrift(s.sealer, c.clock.now)
	good := c.acceptedSecret(c.policy)
	older := *c.acceptedForm(c.policy)
	older.Spec.Environments = older.Spec.Environments[:1]
	before, err := s.sealer.EncodePolicy(keysNamespace, &older)
	must(t, err)
	bad := before.DeepCopy()
	delete(bad.Data, "seal")
	d.observe(before, bad)
	var got *policy.Policy
	got, err = newAccepted(s, d).policy(t.Context(), client.ObjectKeyFromObject(c.policy), string(c.policy.UID))
	must(t, err)
	if _, ok := got.Format("test"); !ok {
		t.Error("an older form is in force")
	}
	if _, lost := d.lost(good.Name); lost {
		t.Error("it is to be put back for ever")
	}
}
