package reconcile

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// gone waits until an object is not there any more.
func (c *cluster) gone(o client.Object) {
	c.Helper()
	c.eventually(func() error {
		err := c.get(o)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("%s is still there: %w", o.GetName(), err)
	})
}

// look makes the controller look at a record's Secret again.
func (c *cluster) look(uid string) {
	c.Helper()
	for name := range c.records(uid) {
		c.poke(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: keysNamespace, Name: name}})
	}
}

func isTombstone(r *apikey.Record) bool { return r.State == apikey.Deleted && r.RetiredAt != nil }

// A tombstone tells whether its key had ended before it was deleted.
func TestTombstone(t *testing.T) {
	for was, want := range map[apikey.State]apikey.State{
		apikey.Pending: apikey.Deleted, apikey.Active: apikey.Deleted, apikey.Suspended: apikey.Deleted, apikey.NotGranted: apikey.Deleted,
		apikey.Deleted: apikey.Deleted, apikey.Revoked: apikey.Revoked, apikey.Rotated: apikey.Rotated,
	} {
		first := tombstone(aRecord(1, func(r *apikey.Record) { r.State = was }), noon)
		if first.State != want || first.RetiredAt == nil || !first.RetiredAt.Equal(noon) {
			t.Errorf("of one that was %s: %+v", was, first)
		}
		if again := tombstone(first, noon.Add(time.Hour)); !sameRecord(first, again) {
			t.Errorf("buried twice: %+v", again)
		}
	}
}

// A deleted APIKey leaves a tombstone for a day, and nothing else.
func TestDeleteKey(t *testing.T) {
	for _, retain := range []v1alpha1.RetainPolicy{v1alpha1.RetainOnce, v1alpha1.RetainKeep} {
		t.Run(string(retain), func(t *testing.T) {
			c := newCluster(t)
			c.start()
			key := c.issued("doomed", func(s *v1alpha1.APIKeySpec) { s.Delivery.Retain = retain })
			must(t, c.admin.Delete(t.Context(), key))
			c.gone(key)
			if record := c.record(key); !isTombstone(record) {
				t.Errorf("record: %+v", record)
			}
			if _, err := c.delivery(key); !apierrors.IsNotFound(err) {
				t.Errorf("the delivery Secret: %v", err)
			}
			if secret := c.ledgerSecret(key); secret.Name != "" {
				t.Error("the ledger is still there")
			}

			c.clock.advance(retention - time.Minute)
			c.look(string(key.UID))
			c.issued("passes-the-time")
			if record := c.record(key); !isTombstone(record) {
				t.Errorf("record: %+v", record)
			}
			c.clock.advance(2 * time.Minute)
			c.look(string(key.UID))
			c.eventually(func() error {
				if records := c.records(string(key.UID)); len(records) > 0 {
					return fmt.Errorf("%d records are left", len(records))
				}
				return nil
			})
		})
	}
}

// Deleting what was never issued, or is gone from the tenant's namespace, works too.
func TestDeleteWithoutDelivery(t *testing.T) {
	for name, test := range map[string]struct {
		key       func(*v1alpha1.APIKeySpec)
		ready     string
		meanwhile func(*cluster, *v1alpha1.APIKey)
	}{
		"never issued": {key: func(s *v1alpha1.APIKeySpec) { s.PolicyRef.Name = "nowhere" }, ready: v1alpha1.ReasonPolicyNotFound},
		"the Secret is another's by now": {key: func(*v1alpha1.APIKeySpec) {}, ready: v1alpha1.ReasonActive, meanwhile: func(c *cluster, key *v1alpha1.APIKey) {
			secret, err := c.delivery(key)
			must(c.TB, err)
			c.patch(secret, `{"metadata":{"ownerReferences":null}}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.start()
			key := c.apply(c.newKey("odd", test.key)).(*v1alpha1.APIKey)
			c.becomes(key, v1alpha1.ConditionReady, test.ready)
			if test.meanwhile != nil {
				test.meanwhile(c, key)
			}
			must(t, c.admin.Delete(t.Context(), key))
			c.gone(key)
			for _, r := range c.records(string(key.UID)) {
				if !isTombstone(r) {
					t.Errorf("record: %+v", r)
				}
			}
		})
	}
}

// TestDeletedWhileStalled deletes an APIKey while a controller is stalled at each
// write of its mint in turn: whatever it writes afterwards is swept.
func TestDeletedWhileStalled(t *testing.T) {
	c := newCluster(t)
	warm := c.start()
	c.policyBecomes(c.policy, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted)
	warm()
	for n := 1; n <= 5; n++ {
		stall := &killSwitch{at: n, resume: make(chan struct{})}
		key := c.apply(c.newKey(fmt.Sprintf("deleted-%d", n))).(*v1alpha1.APIKey)
		stopStalled := c.start(func(o *Options) { o.wrap = stall.wrap; o.recoverAfter = time.Hour })
		c.eventually(func() error {
			if !stall.isKilled() {
				return fmt.Errorf("not stalled at write %d yet", n)
			}
			return nil
		})
		stop := c.start(func(o *Options) { o.recoverAfter = time.Hour })
		must(t, c.admin.Delete(t.Context(), key))
		c.gone(key)
		close(stall.resume)
		c.eventually(func() error {
			if !stall.isQuiet() {
				return fmt.Errorf("the stalled controller is at work")
			}
			if secret := c.ledgerSecret(key); secret.Name != "" {
				return fmt.Errorf("stalled at write %d: a ledger is left", n)
			}
			for _, r := range c.records(string(key.UID)) {
				if !isTombstone(r) {
					return fmt.Errorf("stalled at write %d: a record is %s", n, r.State)
				}
			}
			return nil
		})
		stopStalled()
		stop()
	}
}

// Who cuts the finalizer of a living APIKey gains nothing.
func TestFinalizerIsPutBack(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("cut")
	c.patch(key, `{"metadata":{"finalizers":null}}`)
	c.eventually(func() error {
		must(t, c.get(key))
		if len(key.Finalizers) != 1 || key.Finalizers[0] != finalizer {
			return fmt.Errorf("finalizers: %v", key.Finalizers)
		}
		return nil
	})
}

// A finalizer that was cut by hand leaves orphans. They are found at once, and after
// a restart.
func TestOrphans(t *testing.T) {
	for name, running := range map[string]bool{"while the controller runs": true, "while none does": false} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			stop := c.start()
			key := c.issued("cut")
			if !running {
				stop()
			}
			c.patch(key, `{"metadata":{"finalizers":null}}`)
			must(t, c.admin.Delete(t.Context(), key))
			c.gone(key)
			again := c.apply(c.newKey("cut", func(s *v1alpha1.APIKeySpec) { s.Delivery.SecretName = "another" })).(*v1alpha1.APIKey)
			if !running {
				c.start()
			}
			c.recordBecomes(key, isTombstone)
			c.eventually(func() error {
				if secret := c.ledgerSecret(key); secret.Name != "" {
					return fmt.Errorf("the ledger is still there")
				}
				return nil
			})
			c.becomes(again, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
			must(t, c.oneLiveToken(again))
		})
	}
}

// Tombstones are records too: what somebody does to them is undone.
func TestDriftOfTombstones(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("buried")
	active := c.recordSecret(key)
	must(t, c.admin.Delete(t.Context(), key))
	c.gone(key)

	now := c.recordSecret(key)
	now.Data = active.Data
	must(t, c.admin.Update(t.Context(), now))
	c.undone(func() error { return c.buried(key) })

	must(t, c.admin.Delete(t.Context(), c.recordSecret(key)))
	c.undone(func() error { return c.buried(key) })

	// Even one that is brought back after its time.
	c.clock.advance(retention + time.Minute)
	c.look(string(key.UID))
	c.eventually(func() error {
		if records := c.records(string(key.UID)); len(records) > 0 {
			return fmt.Errorf("%d records are left", len(records))
		}
		return nil
	})
	c.apply(bare(active))
	c.undone(func() error { return c.buried(key) })
}

// buried returns an error unless an APIKey has left one tombstone, and nothing else.
func (c *cluster) buried(key *v1alpha1.APIKey) error {
	records := c.records(string(key.UID))
	for _, r := range records {
		if !isTombstone(r) {
			return fmt.Errorf("record: %+v", r)
		}
	}
	if len(records) != 1 {
		return fmt.Errorf("%d records", len(records))
	}
	return nil
}

// Of one APIKey only the newest tombstones are kept.
func TestManyTombstones(t *testing.T) {
	c := newCluster(t)
	registry := prometheus.NewPedanticRegistry()
	c.start(func(o *Options) { o.Registerer = registry })
	key := c.issued("often")
	must(t, c.admin.Delete(t.Context(), key))
	c.gone(key)
	newest := c.record(key)
	for i := range maxTombstones + 3 {
		older := *newest
		older.Digest, older.IssuedAt = apikey.Digest{byte(i + 1)}, newest.IssuedAt.Add(-time.Duration(i+1)*time.Hour)
		secret, err := c.root().Sealer.EncodeRecord(keysNamespace, &older)
		must(t, err)
		c.apply(secret)
	}
	c.eventually(func() error {
		if records := c.records(string(key.UID)); len(records) != maxTombstones || records[keysecret.RecordName(newest.Digest)] == nil {
			return fmt.Errorf("%d tombstones", len(records))
		}
		return nil
	})
	// And that was the end of it: what was removed did not pass for lost.
	c.issued("passes-the-time")
	if got := metric(t, registry, "keygate_drift_restored_total"); got != 0 {
		t.Errorf("%v tombstones were put back", got)
	}
}

// A Pending record that no ledger names is swept after a minute, not before; one
// that a ledger names is not the sweeper's.
func TestPendingSwept(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("started")
	stray := *c.record(key)
	stray.Digest, stray.State, stray.IssuedAt = apikey.Digest{1}, apikey.Pending, c.clock.now().UTC().Truncate(time.Second)
	secret, err := c.root().Sealer.EncodeRecord(keysNamespace, &stray)
	must(t, err)
	c.apply(secret)
	c.clock.advance(pendingGrace - 10*time.Second)
	c.poke(secret)
	c.issued("passes-the-time")
	must(t, c.get(secret))
	c.clock.advance(11 * time.Second)
	c.poke(secret)
	c.gone(secret)
	must(t, c.oneLiveToken(key))
}
