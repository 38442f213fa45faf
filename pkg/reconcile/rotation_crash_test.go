package reconcile

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// bareName names a Secret of the keys namespace.
func bareName(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: keysNamespace, Name: name}
}

// toRotate is an APIKey with a token that works, and no controller.
func (c *cluster) toRotate(name string, change ...func(*v1alpha1.APIKeySpec)) *v1alpha1.APIKey {
	c.Helper()
	stop := c.start()
	defer stop()
	key := c.issued(name, change...)
	c.settled(key)
	return key
}

// TestRotationKilledAtEveryWrite kills the controller at each write of a rotation in
// turn, before the write is made and after, and lets a new one take over.
func TestRotationKilledAtEveryWrite(t *testing.T) {
	c := newCluster(t)
	c.guard()
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			key := c.toRotate(fmt.Sprintf("killed-%t-%d", after, n), keeps)
			kill := &killSwitch{at: n, after: after}
			c.raise(key, 2)
			stop := c.start(func(o *Options) { o.wrap = kill.wrap })
			c.eventually(func() error {
				if kill.isKilled() {
					return nil
				}
				return c.rotatedTo(key, 2)
			})
			stop()
			if !kill.isKilled() {
				if n < 8 {
					t.Errorf("a rotation took %d writes: too few to have been killed at all of them", n-1)
				}
				break
			}
			stop = c.start()
			c.eventually(func() error { return c.rotatedTo(key, 2) })
			if r := c.serial(key, 1); r.State != apikey.Active || !r.ExpiresAt.Equal(c.serial(key, 2).DeliveredAt.Add(defaultOverlap)) {
				t.Errorf("killed at write %d (after: %t): %+v", n, after, r)
			}
			stop()
		}
	}
}

// TestRotationStalledAtEveryWrite stalls the controller at each write of a rotation in
// turn, until another one has done its work: where the new token goes over the old one,
// and where the old one was collected.
func TestRotationStalledAtEveryWrite(t *testing.T) {
	c := newCluster(t)
	c.guard()
	for _, over := range []bool{false, true} {
		for n := 1; c.rotationStalledAt(n, over); n++ {
		}
	}
}

// rotationStalledAt reports whether there was an n-th write to be stalled at.
func (c *cluster) rotationStalledAt(n int, over bool) bool {
	key := c.toRotate(fmt.Sprintf("stalled-%t-%d", over, n))
	if !over {
		secret, err := c.delivery(key)
		must(c.TB, err)
		must(c.TB, c.admin.Delete(c.Context(), secret))
	}
	stall := &killSwitch{at: n, resume: make(chan struct{})}
	c.raise(key, 2)
	stopStalled := c.start(func(o *Options) { o.wrap = stall.wrap })
	defer stopStalled()
	c.eventually(func() error {
		if stall.isKilled() {
			return nil
		}
		return c.rotatedTo(key, 2)
	})
	if !stall.isKilled() {
		return false
	}
	stop := c.start()
	defer stop()
	c.eventually(func() error { return c.rotatedTo(key, 2) })
	close(stall.resume)
	c.eventually(func() error {
		if !stall.isQuiet() {
			return errors.New("the stalled controller is at work")
		}
		return c.rotatedTo(key, 2)
	})
	stopStalled()
	if err := c.rotatedTo(key, 2); err != nil {
		c.Errorf("stalled at write %d: %v", n, err)
	}
	return true
}

// TestTwoControllersRotate runs two of them, impatient, without leader election, while
// keys are rotated again and again.
func TestTwoControllersRotate(t *testing.T) {
	c := newCluster(t)
	c.guard()
	impatient := func(o *Options) { o.recoverAfter = quick / 10 }
	c.start(impatient)
	c.start(impatient)
	var keys []*v1alpha1.APIKey
	for i := range 10 {
		keys = append(keys, c.issued(fmt.Sprintf("both-%d", i), keeps))
	}
	for serial := int64(2); serial <= 5; serial++ {
		for _, key := range keys {
			c.raise(key, serial)
		}
		for _, key := range keys {
			c.eventually(func() error { return c.rotatedTo(key, serial) })
		}
	}
}

// TestSpoiledRecordsOfSerials: a record of an older token that was spoiled while no
// controller ran does not outlive its overlap, nor the key's end.
func TestSpoiledRecordsOfSerials(t *testing.T) {
	for name, test := range map[string]struct {
		end   func(c *cluster, key *v1alpha1.APIKey)
		state apikey.State
	}{
		"the overlap ends": {func(c *cluster, key *v1alpha1.APIKey) {
			c.clock.advance(defaultOverlap)
			c.poke(key)
		}, apikey.Rotated},
		"the key is revoked": {func(c *cluster, key *v1alpha1.APIKey) { c.patch(key, `{"spec":{"state":"Revoked"}}`) }, apikey.Revoked},
		"the key is deleted": {func(c *cluster, key *v1alpha1.APIKey) { must(c.TB, c.admin.Delete(c.Context(), key)) }, apikey.Deleted},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			stop := c.start()
			store := c.keyStore()
			key := c.issued("victim", keeps)
			c.rotates(key, 2)
			older, newer := c.serial(key, 1).Digest, c.serial(key, 2).Digest
			stop()
			secret := &corev1.Secret{ObjectMeta: bareName(keysecret.RecordName(older))}
			must(t, c.get(secret))
			c.spoil(secret)
			c.start()
			c.raise(key, 3) // which is no hindrance
			c.eventually(func() error {
				must(t, c.get(key))
				if len(key.Status.Keys) < 3 || key.Status.Keys[2].State != stateUnreadable {
					return fmt.Errorf("status: %+v", key.Status.Keys)
				}
				return nil
			})
			must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive))
			test.end(c, key)
			for _, digest := range []apikey.Digest{older, newer} {
				c.eventually(func() error {
					r, err := store.Lookup(t.Context(), digest)
					if err != nil || r == nil || r.State != test.state {
						return fmt.Errorf("extauthz knows %+v, %v", r, err)
					}
					return nil
				})
			}
			if test.state == apikey.Rotated {
				c.eventually(func() error { return c.rotatedTo(key, 3) })
			}
		})
	}
}

// TestSuspectBlocksRotation: a spoiled record that the ledger does not name may be of any
// serial. No other token is made until it is gone.
func TestSuspectBlocksRotation(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	key := c.issued("victim", keeps)
	early := c.ledgerSecret(key).DeepCopy()
	c.rotates(key, 2)
	second := c.serial(key, 2)
	stop()
	ledger := c.ledgerSecret(key)
	ledger.Data = early.Data
	must(t, c.admin.Update(t.Context(), ledger))
	secret := &corev1.Secret{ObjectMeta: bareName(keysecret.RecordName(second.Digest))}
	must(t, c.get(secret))
	c.spoil(secret)
	c.start()
	c.becomes(key, v1alpha1.ConditionDelivered, v1alpha1.ReasonPending)
	c.issued("passes-the-time")
	must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive))
	if records := c.records(string(key.UID)); len(records) != 1 {
		t.Errorf("%d records", len(records))
	}
	must(t, c.admin.Delete(t.Context(), secret))
	c.eventually(func() error { return c.rotatedTo(key, 2) })
	if r := c.serial(key, 1); r.ExpiresAt == nil || r.ExpiresAt.After(second.DeliveredAt.Add(defaultOverlap)) {
		t.Errorf("the older token got another end: %+v, %s", r, time.Now())
	}
}
