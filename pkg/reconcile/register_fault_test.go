package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// killedAt starts a controller that is killed at its n-th write, and another one when
// it was, or when all is as done says. It reports whether the first was killed.
func (c *cluster) killedAt(n int, after bool, done func() error) bool {
	c.Helper()
	kill := &killSwitch{at: n, after: after}
	stop := c.start(func(o *Options) { o.wrap = kill.wrap })
	c.eventually(func() error {
		if kill.isKilled() {
			return nil
		}
		return done()
	})
	stop()
	stop = c.start()
	c.eventually(done)
	stop()
	return kill.isKilled()
}

// TestRegistrationKilledAtEveryWrite kills the controller at each write that registers
// a key, before and after it is made.
func TestRegistrationKilledAtEveryWrite(t *testing.T) {
	c := newCluster(t)
	warm := c.start()
	c.policyBecomes(c.policy, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted)
	warm()
	for _, after := range []bool{false, true} {
		n := 1
		for killed := true; killed; n++ {
			token := elsewhere()
			first := c.apply(c.newKey(fmt.Sprintf("first-%t-%d", after, n), registering(token))).(*v1alpha1.APIKey)
			second := c.apply(c.newKey(fmt.Sprintf("second-%t-%d", after, n), registering(token))).(*v1alpha1.APIKey)
			killed = c.killedAt(n, after, func() error {
				holder, err := c.oneHolder([]*v1alpha1.APIKey{first, second}, token)
				if err == nil && c.ledgerSecret(holder).Name == "" {
					return errors.New("no ledger is written yet")
				}
				return err
			})
		}
		if n < 6 {
			t.Errorf("it took %d writes: too few to have been killed at all of them", n-2)
		}
	}
}

// TestTakeOverKilledAtEveryWrite kills the controller at each write by which the holder
// of a key goes and another APIKey takes over.
func TestTakeOverKilledAtEveryWrite(t *testing.T) {
	c := newCluster(t)
	for _, after := range []bool{false, true} {
		n := 1
		for killed := true; killed; n++ {
			warm := c.start()
			token := elsewhere()
			holder := c.issued(fmt.Sprintf("holder-%t-%d", after, n), registering(token))
			c.ledgerNames(holder, token)
			waiting := c.refused(fmt.Sprintf("waiting-%t-%d", after, n), token)
			warm()
			must(t, c.admin.Delete(t.Context(), holder))
			killed = c.killedAt(n, after, func() error {
				if err := c.get(holder); err == nil {
					return errors.New("the old holder is still there")
				}
				_, err := c.oneHolder([]*v1alpha1.APIKey{waiting}, token)
				return err
			})
		}
		if n < 6 {
			t.Errorf("it took %d writes: too few to have been killed at all of them", n-2)
		}
	}
}

// noDeletes is a client that deletes nothing: it waits for its end.
type noDeletes struct{ client.Client }

func (noDeletes) Delete(ctx context.Context, _ client.Object, _ ...client.DeleteOption) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestTakeOverHalfway: an APIKey that is on its way out does no harm to the one
// that took its key over meanwhile.
func TestTakeOverHalfway(t *testing.T) {
	c := newCluster(t)
	warm := c.start()
	token := elsewhere()
	holder := c.issued("holder", registering(token))
	c.ledgerNames(holder, token)
	waiting := c.refused("waiting", token)
	warm()

	must(t, c.admin.Delete(t.Context(), holder))
	stop := c.start(func(o *Options) { // it buries the record, and no more
		o.wrap = func(inner client.Client) client.Client { return noDeletes{inner} }
	})
	c.becomes(waiting, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	must(t, c.get(holder))
	if secret := c.ledgerSecret(holder); secret.Name == "" {
		t.Fatal("the ledger of the old holder is gone already")
	}
	stop()
	c.start()
	c.gone(holder)
	must(t, c.holds(waiting, token))
}

// neverBack is a client that makes no record of one APIKey until it is told to.
type neverBack struct {
	client.Client
	uid   string
	tries *atomic.Int32
	told  *atomic.Bool
}

func (n neverBack) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	if o.GetLabels()[keysecret.LabelOwnerUID] == n.uid && !n.told.Load() {
		n.tries.Add(1)
		return errors.New("not yet")
	}
	return n.Client.Create(ctx, o, opts...)
}

// TestLostIsNotVacant: what is still to be put back is nobody's to register.
func TestLostIsNotVacant(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	holder, token := holders["registered"](c)
	waiting := c.refused("waiting", token)
	stop()
	tries, told := &atomic.Int32{}, &atomic.Bool{}
	c.start(func(o *Options) {
		o.wrap = func(inner client.Client) client.Client {
			return neverBack{inner, string(holder.UID), tries, told}
		}
	})
	c.issued("warm")
	must(t, c.admin.Delete(t.Context(), c.recordSecret(holder)))
	c.eventually(func() error {
		c.poke(waiting)
		if n := tries.Load(); n < 5 {
			return fmt.Errorf("the record was tried to be put back %d times", n)
		}
		return nil
	})
	if records := c.records(string(waiting.UID)); len(records) > 0 {
		t.Error("another APIKey has the key")
	}
	told.Store(true)
	c.eventually(func() error { return c.holds(holder, token) })
	c.becomes(waiting, v1alpha1.ConditionReady, v1alpha1.ReasonDuplicateKey)
}

// TestRegisteredIsRestored: while the controller runs, a record that somebody deletes
// is put back, and nobody gets hold of the key in between.
func TestRegisteredIsRestored(t *testing.T) {
	c := newCluster(t)
	c.start()
	holder, token := holders["registered"](c)
	waiting := c.refused("waiting", token)
	for range 10 {
		before := c.recordSecret(holder)
		must(t, c.admin.Delete(t.Context(), before))
		c.poke(waiting)
		c.undone(func() error { return c.holds(holder, token) })
		c.poke(waiting)
		c.becomes(waiting, v1alpha1.ConditionReady, v1alpha1.ReasonDuplicateKey)
		if records := c.records(string(waiting.UID)); len(records) > 0 {
			t.Fatalf("%d records of the other", len(records))
		}
	}
	must(t, c.get(holder))
	must(t, hasReason(holder.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive))
}

// TestRegisteredIsLost: a record that was deleted while no controller ran is made anew
// from the spec.
func TestRegisteredIsLost(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	holder, token := holders["registered"](c)
	stop()
	must(t, c.admin.Delete(t.Context(), c.recordSecret(holder)))
	c.start()
	c.eventually(func() error { return c.holds(holder, token) })
	c.ledgerNames(holder, token)
}

// TestLostTokenIsRegistered: who lost a minted token's record gets a new token, also
// where somebody registered the old one meanwhile, and does not touch that.
func TestLostTokenIsRegistered(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	holder, token := holders["minted"](c)
	c.settled(holder)
	stop()
	must(t, c.admin.Delete(t.Context(), c.recordSecret(holder)))
	c.patch(holder, `{"spec":{"scopes":["root"]}}`) // it is not minted anew before it is told
	thief := c.apply(c.newKey("thief", registering(token))).(*v1alpha1.APIKey)
	c.start()
	c.becomes(thief, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	c.becomes(holder, v1alpha1.ConditionReady, v1alpha1.ReasonScopesNotGranted)
	c.patch(holder, `{"spec":{"scopes":["read"]}}`)
	c.becomes(holder, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	must(t, c.oneLiveToken(holder))
	must(t, c.holds(thief, token))
}

// TestRegisteredIsSpoiled: a record that was spoiled while no controller ran is nobody's
// to write over. Its own APIKey, which the ledger tells, can still be revoked.
func TestRegisteredIsSpoiled(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	holder, token := holders["registered"](c)
	digest, _ := c.root().Peppers.Sum(token)
	waiting := c.refused("waiting", token)
	stop()
	secret := c.recordSecret(holder)
	secret.Labels = nil
	c.spoil(secret)
	spoiled := secret.ResourceVersion
	c.start()
	c.becomes(holder, v1alpha1.ConditionReady, v1alpha1.ReasonRecordInvalid)
	c.becomes(waiting, v1alpha1.ConditionReady, v1alpha1.ReasonRecordInvalid)
	c.patch(waiting, `{"spec":{"state":"Revoked"}}`)
	c.becomes(waiting, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
	must(t, c.admin.Delete(t.Context(), waiting))
	c.gone(waiting)
	must(t, c.get(secret))
	if secret.ResourceVersion != spoiled {
		t.Error("another APIKey wrote the spoiled record")
	}
	c.patch(holder, `{"spec":{"state":"Revoked"}}`)
	c.becomes(holder, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
	must(t, c.letsIn(keysecret.RecordName(digest)))
	c.recordBecomes(holder, inState(apikey.Revoked))
}
