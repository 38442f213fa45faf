package reconcile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// TestDriftOfRecords lets somebody who may write the keys namespace, but lacks the
// seal key, change the record of a key that is revoked. Afterwards it is revoked.
func TestDriftOfRecords(t *testing.T) {
	c := newCluster(t)
	c.start()
	for name, change := range map[string]func(c *cluster, old, now *corev1.Secret){
		"edited": func(c *cluster, _, now *corev1.Secret) {
			now.Data["record"] = []byte(strings.ReplaceAll(string(now.Data["record"]), "Revoked", "Active"))
			must(c.TB, c.admin.Update(c.Context(), now))
		},
		"the seal taken off": func(c *cluster, _, now *corev1.Secret) {
			delete(now.Data, "seal")
			must(c.TB, c.admin.Update(c.Context(), now))
		},
		"rolled back": func(c *cluster, old, now *corev1.Secret) {
			now.Data = old.Data
			must(c.TB, c.admin.Update(c.Context(), now))
		},
		"rolled back and made immutable": func(c *cluster, old, now *corev1.Secret) {
			immutable := true
			now.Data, now.Immutable = old.Data, &immutable
			must(c.TB, c.admin.Update(c.Context(), now))
		},
		"deleted": func(c *cluster, _, now *corev1.Secret) {
			must(c.TB, c.admin.Delete(c.Context(), now))
		},
		"deleted and an older one made": func(c *cluster, old, now *corev1.Secret) {
			must(c.TB, c.admin.Delete(c.Context(), now))
			must(c.TB, client.IgnoreAlreadyExists(c.admin.Create(c.Context(), bare(old))))
		},
		"deleted and one of another type made": func(c *cluster, _, now *corev1.Secret) {
			must(c.TB, c.admin.Delete(c.Context(), now))
			must(c.TB, client.IgnoreAlreadyExists(c.admin.Create(c.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: now.Namespace, Name: now.Name}})))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.beside(t)
			key := c.issued("victim")
			old := c.recordSecret(key)
			c.patch(key, `{"spec":{"state":"Revoked"}}`)
			c.recordBecomes(key, inState(apikey.Revoked))
			c.settled(key)
			c.untilIdle(func() error {
				revision := c.record(key).Revision
				change(c, old, c.recordSecret(key))
				c.undone(func() error { return c.revoked(key) })
				if c.record(key).Revision <= revision {
					return errors.New("it was judged by the spec")
				}
				return nil
			})
			c.hasEvents(key, eventRecordRestored)
			must(t, c.get(key))
			must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked))
		})
	}
}

// What the APIKey itself does not say is put back too: a collected token is never
// looked for again.
func TestDriftOfHandedOver(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("collected")
	old := c.recordSecret(key)
	c.patch(key, handOverSoon)
	c.becomes(key, v1alpha1.ConditionDelivered, v1alpha1.ReasonHandedOver)
	c.rollsBack(key, old, func(r *apikey.Record) bool { return r.HandedOver })
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
}

// TestDriftOfLedgers: the lock of minting can't be picked.
func TestDriftOfLedgers(t *testing.T) {
	for name, change := range map[string]func(c *cluster, ledger *corev1.Secret){
		"edited": func(c *cluster, ledger *corev1.Secret) {
			ledger.Data["ledger"] = []byte(`{}`)
			must(c.TB, c.admin.Update(c.Context(), ledger))
		},
		"deleted": func(c *cluster, ledger *corev1.Secret) { must(c.TB, c.admin.Delete(c.Context(), ledger)) },
		"deleted and one of another type made": func(c *cluster, ledger *corev1.Secret) {
			must(c.TB, c.admin.Delete(c.Context(), ledger))
			must(c.TB, client.IgnoreAlreadyExists(c.admin.Create(c.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ledger.Namespace, Name: ledger.Name}})))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			stop := c.start()
			key := c.issued("locked")
			before := c.record(key)
			mended := func() {
				t.Helper()
				c.eventually(func() error {
					ledger, err := c.root().Sealer.DecodeLedger(c.ledgerSecret(key))
					if err != nil {
						return err
					}
					if ledger.Entries[serial].Digest != before.Digest {
						return fmt.Errorf("the ledger names %s", ledger.Entries[serial].Digest)
					}
					return nil
				})
				must(t, c.oneLiveToken(key))
				if got := c.record(key); got.Digest != before.Digest {
					t.Error("another token was issued")
				}
			}
			change(c, c.ledgerSecret(key))
			mended()
			stop()
			change(c, c.ledgerSecret(key)) // and nobody sees it
			c.start()
			mended()
		})
	}
}

// ledgerSecret is the Secret of an APIKey's ledger; an empty one where there is none.
func (c *cluster) ledgerSecret(key *v1alpha1.APIKey) *corev1.Secret {
	c.Helper()
	secret := &corev1.Secret{}
	name := keysecret.LedgerName(string(key.UID))
	must(c.TB, client.IgnoreNotFound(c.admin.Get(c.Context(), client.ObjectKey{Namespace: keysNamespace, Name: name}, secret)))
	return secret
}

// A record of the same serial that the ledger does not name is none that counts,
// however well it is sealed.
func TestSecondRecordOfASerial(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	key := c.issued("only-one")
	named := c.record(key)
	ledger := c.ledgerSecret(key)
	stop()

	rival := *named
	rival.Digest, rival.IssuedAt = apikey.Digest{1}, named.IssuedAt.Add(time.Hour)
	secret, err := c.root().Sealer.EncodeRecord(keysNamespace, &rival)
	must(t, err)
	c.apply(secret)
	stop = c.start()
	c.recordBecomes(key, func(r *apikey.Record) bool { return r.Digest == rival.Digest && r.State == apikey.Revoked })
	must(t, c.oneLiveToken(key))
	stop()

	// Nor where the ledger is rolled back to one that names what is not there.
	old, err := c.root().Sealer.EncodeLedger(keysNamespace, &keysecret.Ledger{Owner: ownerOf(key), Entries: map[int64]keysecret.LedgerEntry{
		serial: {Digest: apikey.Digest{2}, Environment: "live"},
	}})
	must(t, err)
	ledger.Data = old.Data
	must(t, c.admin.Update(t.Context(), ledger))
	c.start()
	c.eventually(func() error {
		if l := formOf(c.root().Sealer, c.ledgerSecret(key)).ledger; l == nil || l.Entries[serial].Digest != named.Digest {
			return fmt.Errorf("ledger: %+v", l)
		}
		return nil
	})
	must(t, c.oneLiveToken(key))
}

// TestDriftOfPolicies: the accepted form is put back, also where the newest spec is
// one that can't be put in force, and only memory knows the last good one.
func TestDriftOfPolicies(t *testing.T) {
	for name, change := range map[string]func(c *cluster, old, now *corev1.Secret){
		"edited": func(c *cluster, _, now *corev1.Secret) {
			now.Data["policy"] = []byte(`{}`)
			must(c.TB, c.admin.Update(c.Context(), now))
		},
		"deleted": func(c *cluster, _, now *corev1.Secret) { must(c.TB, c.admin.Delete(c.Context(), now)) },
		"rolled back": func(c *cluster, old, now *corev1.Secret) {
			now.Data = old.Data
			must(c.TB, c.admin.Update(c.Context(), now))
		},
	} {
		for _, bad := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, newest spec bad: %t", name, bad), func(t *testing.T) {
				c := newCluster(t)
				c.start()
				c.policyBecomes(c.policy, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted)
				old := c.acceptedSecret(c.policy)
				c.patch(c.policy, `{"spec":{"rules":[{"paths":["/a"],"anyKey":true}]}}`)
				c.eventually(func() error { return c.inForce(2) })
				if bad {
					c.patch(c.policy, twice)
					c.policyBecomes(c.policy, v1alpha1.ConditionAccepted, v1alpha1.ReasonInvalid)
				}
				key, others := c.issued("steady"), 0
				c.untilIdle(func() error {
					before := c.recordSecret(key)
					now := c.acceptedSecret(c.policy)
					change(c, old, now.DeepCopy())
					c.undone(func() error {
						if secret := c.acceptedSecret(c.policy); secret == nil || secret.ResourceVersion == now.ResourceVersion {
							return fmt.Errorf("not written: %v", secret)
						}
						return c.inForce(2)
					})
					c.hasEvents(c.policy, eventRecordRestored)
					c.poke(key)
					others++
					c.issued(fmt.Sprint("another-", others))
					if after := c.recordSecret(key); after.ResourceVersion != before.ResourceVersion {
						return errors.New("the record of a key was written")
					}
					return nil
				})
			})
		}
	}
}

// inForce returns an error unless the accepted form of the fixture policy is of a
// generation.
func (c *cluster) inForce(generation int64) error {
	source := c.acceptedForm(c.policy)
	if source == nil || source.Generation != generation {
		return fmt.Errorf("in force: %+v, want generation %d", source, generation)
	}
	return nil
}

// TestUnreadableRecord: what was spoiled while no controller ran can't be put back.
// The key says so, nothing is issued, and an operator can mend it either way.
func TestUnreadableRecord(t *testing.T) {
	for name, mend := range map[string]func(c *cluster, good, bad *corev1.Secret){
		"restored": func(c *cluster, good, bad *corev1.Secret) {
			bad.Data = good.Data
			must(c.TB, c.admin.Update(c.Context(), bad))
		},
		"deleted": func(c *cluster, _, bad *corev1.Secret) { must(c.TB, c.admin.Delete(c.Context(), bad)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			stop := c.start()
			key := c.issued("spoiled", func(s *v1alpha1.APIKeySpec) { s.Delivery.Retain = v1alpha1.RetainKeep })
			stop()
			good := c.recordSecret(key)
			bad := good.DeepCopy()
			bad.Data["seal"] = []byte("1:00")
			must(t, c.admin.Update(t.Context(), bad))
			c.start()
			c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRecordInvalid)
			c.poke(key)
			c.issued("another")
			if records := c.records(string(key.UID)); len(records) > 0 {
				t.Errorf("%d records were made", len(records))
			}
			mend(c, good, bad)
			c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
			must(t, c.oneLiveToken(key))
		})
	}
}

// A copy of a record under another name is no record.
func TestCopiedRecord(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("copied")
	copied := bare(c.recordSecret(key))
	copied.Name = keysecret.RecordName(apikey.Digest{7})
	c.apply(copied)
	c.poke(key)
	c.issued("another")
	must(t, c.get(key))
	must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive))
	must(t, c.oneLiveToken(key))
}
