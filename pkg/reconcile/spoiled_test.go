package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/keystore"
)

// keyStore is the store of an extauthz that runs until the test ends.
func (c *cluster) keyStore() *keystore.Store {
	c.Helper()
	config := c.server.Extauthz()
	kube, err := kubernetes.NewForConfig(config)
	must(c.TB, err)
	meta, err := metadata.NewForConfig(config)
	must(c.TB, err)
	store, err := keystore.New(keystore.Options{Client: kube, Metadata: meta, SystemNamespace: systemNamespace, KeysNamespace: keysNamespace, Log: slog.New(slog.DiscardHandler)})
	must(c.TB, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- store.Run(ctx) }()
	c.Cleanup(func() {
		cancel()
		<-done
	})
	c.eventually(func() error {
		if !store.Synced() {
			return fmt.Errorf("the key store is not synced")
		}
		return nil
	})
	return store
}

// spoil takes the seal off a Secret.
func (c *cluster) spoil(secret *corev1.Secret) {
	c.Helper()
	delete(secret.Data, "seal")
	must(c.TB, c.admin.Update(c.Context(), secret))
}

// letsIn reports whether a stored Secret, or none, lets callers in, or leaves
// extauthz to what it last knew.
func (c *cluster) letsIn(secretName string) error {
	secret := &corev1.Secret{}
	err := c.admin.Get(c.Context(), client.ObjectKey{Namespace: keysNamespace, Name: secretName}, secret)
	if apierrors.IsNotFound(err) {
		return nil
	}
	must(c.TB, err)
	if r := formOf(c.root().Sealer, secret).record; r == nil || r.State != apikey.Revoked && r.State != apikey.Deleted {
		return fmt.Errorf("the stored record is %+v", r)
	}
	return nil
}

// TestEndOfSpoiled: a key whose record was spoiled while no controller ran can still
// be revoked and deleted. extauthz, which goes on by what it last knew, turns
// callers away from then on, and nothing claims that it does before.
func TestEndOfSpoiled(t *testing.T) {
	ends := map[string]func(c *cluster, key *v1alpha1.APIKey){
		"revoked": func(c *cluster, key *v1alpha1.APIKey) {
			c.patch(key, `{"spec":{"state":"Revoked"}}`)
			c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
		},
		"deleted": func(c *cluster, key *v1alpha1.APIKey) {
			must(c.TB, c.admin.Delete(c.Context(), key))
			c.gone(key)
		},
	}
	ledgers := map[string]func(c *cluster, ledger *corev1.Secret){
		"the ledger sound":   func(*cluster, *corev1.Secret) {},
		"the ledger spoiled": func(c *cluster, ledger *corev1.Secret) { c.spoil(ledger) },
		"the ledger deleted": func(c *cluster, ledger *corev1.Secret) { must(c.TB, c.admin.Delete(c.Context(), ledger)) },
	}
	for end, finish := range ends {
		for how, meddle := range ledgers {
			t.Run(end+", "+how, func(t *testing.T) {
				c := newCluster(t)
				stop := c.start()
				store := c.keyStore()
				key := c.issued("victim")
				c.settled(key)
				digest := c.record(key).Digest
				stop()
				meddle(c, c.ledgerSecret(key))
				c.spoil(c.recordSecret(key))
				c.start()
				c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRecordInvalid)
				finish(c, key)
				if err := c.letsIn(keysecret.RecordName(digest)); err != nil {
					t.Errorf("it is %s already, but %v", end, err)
				}
				c.eventually(func() error {
					r, err := store.Lookup(t.Context(), digest)
					if err != nil || r != nil && r.State == apikey.Active {
						return fmt.Errorf("extauthz knows %+v, %v", r, err)
					}
					return nil
				})
			})
		}
	}
}

// TestOrphansThatAreSpoiled: nor does cutting the finalizer keep a key alive.
func TestOrphansThatAreSpoiled(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	key := c.issued("cut")
	record := c.recordSecret(key)
	stop()
	c.spoil(record.DeepCopy())
	c.patch(key, `{"metadata":{"finalizers":null}}`)
	must(t, c.admin.Delete(t.Context(), key))
	c.gone(key)
	c.start()
	c.gone(record)
	c.eventually(func() error {
		if secret := c.ledgerSecret(key); secret.Name != "" {
			return fmt.Errorf("the ledger is still there")
		}
		return nil
	})
}

// TestRevisionOfSpoiled: what is written in the place of a spoiled record is newer
// than every form that it had.
func TestRevisionOfSpoiled(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	key := c.issued("victim")
	c.settled(key)
	good := c.recordSecret(key)
	stop()
	c.spoil(good.DeepCopy())
	c.start()
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRecordInvalid)
	c.patch(key, `{"spec":{"state":"Revoked"}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
	c.becomes(key, v1alpha1.ConditionDelivered, v1alpha1.ReasonRecordInvalid)
	revoked := c.record(key)
	if len(key.Status.Keys) != 1 || key.Status.Keys[0].ID != revoked.Digest.ID() || key.Status.Keys[0].State != string(apikey.Revoked) {
		t.Errorf("status: %+v", key.Status)
	}
	c.rollsBack(key, good, inState(apikey.Revoked))
	c.hasEvents(key, eventRevoked, eventRecordRestored)
}

// TestSpoiledBesideAnother: a spoiled record that the ledger names is not forgotten
// for another one that somebody put back.
func TestSpoiledBesideAnother(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	key := c.issued("victim")
	named := c.record(key)
	stop()
	other := *named
	other.Digest, other.IssuedAt = apikey.Digest{1}, named.IssuedAt.Add(-time.Hour)
	secret, err := c.root().Sealer.EncodeRecord(keysNamespace, &other)
	must(t, err)
	c.spoil(c.recordSecret(key))
	c.apply(secret)
	c.start()
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRecordInvalid)
	if l := formOf(c.root().Sealer, c.ledgerSecret(key)).ledger; l == nil || l.Entries[serial].Digest != named.Digest {
		t.Errorf("ledger: %+v", l)
	}
	c.patch(key, `{"spec":{"state":"Revoked"}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
	for _, digest := range []apikey.Digest{named.Digest, other.Digest} {
		c.eventually(func() error { return c.letsIn(keysecret.RecordName(digest)) })
	}
}
