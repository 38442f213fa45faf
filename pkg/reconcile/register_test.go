package reconcile

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// elsewhere makes a token as somebody without Keygate does.
func elsewhere() []byte { return []byte("legacy-" + rand.Text()) }

// registering asks for a token to be registered.
func registering(token []byte) func(*v1alpha1.APIKeySpec) {
	sum := sha256.Sum256(token)
	return func(s *v1alpha1.APIKeySpec) { s.SHA256 = hex.EncodeToString(sum[:]) }
}

// refused applies an APIKey whose key another one has, and waits until it says so.
func (c *cluster) refused(name string, token []byte) *v1alpha1.APIKey {
	c.Helper()
	key := c.apply(c.newKey(name, registering(token))).(*v1alpha1.APIKey)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonDuplicateKey)
	must(c.TB, hasReason(key.Status.Conditions, v1alpha1.ConditionDelivered, v1alpha1.ReasonNothingIssued))
	return key
}

// holds returns an error unless an APIKey has the one record of a token, which lets
// callers in.
func (c *cluster) holds(key *v1alpha1.APIKey, token []byte) error {
	records := c.records(string(key.UID))
	if len(records) != 1 {
		return fmt.Errorf("%s has %d records, want 1", key.Name, len(records))
	}
	digest, version := c.root().Peppers.Sum(token)
	r := records[keysecret.RecordName(digest)]
	if r == nil || r.Pepper != version || r.State != apikey.Active || r.RetiredAt != nil {
		return fmt.Errorf("%s does not hold the key: %+v", key.Name, r)
	}
	return nil
}

// ledgerNames waits until the ledger of an APIKey names the digest of a token.
func (c *cluster) ledgerNames(key *v1alpha1.APIKey, token []byte) {
	c.Helper()
	digest, _ := c.root().Peppers.Sum(token)
	c.eventually(func() error {
		if l := formOf(c.root().Sealer, c.ledgerSecret(key)).ledger; l == nil || l.Entries[registeredSerial].Digest != digest {
			return fmt.Errorf("ledger: %+v", l)
		}
		return nil
	})
}

func TestRegister(t *testing.T) {
	c := newCluster(t)
	registry := prometheus.NewPedanticRegistry()
	c.start(func(o *Options) { o.Registerer = registry })
	token := elsewhere()
	key := c.issued("theirs", registering(token))
	must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionDelivered, v1alpha1.ReasonRegistered))
	must(t, c.holds(key, token))
	record := c.record(key)
	want := &apikey.Record{
		Digest: record.Digest, Pepper: 1, Owner: ownerOf(key), Serial: 1, Environment: "live", Scopes: []string{"read"}, State: apikey.Active,
		Policy: apikey.Ref{Namespace: systemNamespace, Name: "stepsies", UID: string(c.policy.UID)}, IssuedAt: record.IssuedAt, Revision: 1,
	}
	if diff := cmp.Diff(want, record); diff != "" || time.Since(record.IssuedAt) > time.Minute {
		t.Errorf("record of %s (-want +got):\n%s", record.IssuedAt, diff)
	}
	if key.Status.Hint != "" || len(key.Status.Keys) != 1 || key.Status.Keys[0].ID != record.Digest.ID() || key.Status.Environment != "live" {
		t.Errorf("status: %+v", key.Status)
	}
	if _, err := c.delivery(key); !apierrors.IsNotFound(err) {
		t.Errorf("something was delivered: %v", err)
	}
	c.ledgerNames(key, token)
	c.hasEvents(key, eventRegistered)
	if minted := metric(t, registry, "keygate_mints_total"); minted != 0 {
		t.Errorf("%v tokens were minted", minted)
	}
}

// A registered key is edited, suspended, expired and revoked as one that was minted.
func TestRegisteredIsAsMinted(t *testing.T) {
	c := newCluster(t)
	c.start()
	token := elsewhere()
	key := c.issued("theirs", registering(token))
	c.patch(key, `{"spec":{"scopes":["write"],"expiresAt":"2099-01-01T00:00:00Z","metadata":{"team":"acme"}}}`)
	c.recordBecomes(key, func(r *apikey.Record) bool {
		return len(r.Scopes) == 1 && r.Scopes[0] == "write" && r.ExpiresAt != nil && r.Metadata["team"] == "acme"
	})
	c.patch(key, `{"spec":{"state":"Suspended"}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended)
	c.recordBecomes(key, inState(apikey.Suspended))
	c.patch(key, `{"spec":{"state":"Active"}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	must(t, c.holds(key, token))
	c.patch(key, `{"spec":{"expiresAt":"2020-01-01T00:00:00Z"}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonExpired)
	c.patch(key, `{"spec":{"expiresAt":null}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	c.patch(key, `{"spec":{"state":"Revoked"}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
	c.recordBecomes(key, inState(apikey.Revoked))
	must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionDelivered, v1alpha1.ReasonRegistered))
}

// Nothing is registered that would not be minted.
func TestNothingRegistered(t *testing.T) {
	c := newCluster(t)
	c.start()
	for name, test := range map[string]struct {
		change func(*v1alpha1.APIKeySpec)
		reason string
		lift   string
	}{
		"revoked":     {state(v1alpha1.StateRevoked), v1alpha1.ReasonRevoked, ""},
		"expired":     {expires(time.Unix(1, 0)), v1alpha1.ReasonExpired, `{"spec":{"expiresAt":null}}`},
		"not granted": {asks("root"), v1alpha1.ReasonScopesNotGranted, `{"spec":{"scopes":["read"]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.beside(t)
			token := elsewhere()
			key := c.apply(c.newKey("theirs", registering(token), test.change)).(*v1alpha1.APIKey)
			c.becomes(key, v1alpha1.ConditionReady, test.reason)
			must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionDelivered, v1alpha1.ReasonNothingIssued))
			if records := c.records(string(key.UID)); len(records) > 0 {
				t.Errorf("%d records", len(records))
			}
			if test.lift == "" {
				return
			}
			c.patch(key, test.lift)
			c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
			must(t, c.holds(key, token))
		})
	}
}

// holders are the ways in which an APIKey has a key, with its token.
var holders = map[string]func(*cluster) (*v1alpha1.APIKey, []byte){
	"registered": func(c *cluster) (*v1alpha1.APIKey, []byte) {
		token := elsewhere()
		key := c.issued("holder", registering(token))
		c.ledgerNames(key, token)
		return key, token
	},
	"minted": func(c *cluster) (*v1alpha1.APIKey, []byte) {
		key := c.issued("holder")
		secret, err := c.delivery(key)
		must(c.TB, err)
		return key, secret.Data[tokenField]
	},
}

// TestDuplicateKey: who registers a key that another APIKey has changes nothing of
// that, is told nothing of it, and has the key once the other is deleted.
func TestDuplicateKey(t *testing.T) {
	for name, hold := range holders {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.start()
			holder, token := hold(c)
			before := c.recordSecret(holder)
			other := *c
			other.namespace = c.server.Namespace("other", nil)
			second, third := other.refused("second", token), other.refused("third", token)
			ready := meta.FindStatusCondition(second.Status.Conditions, v1alpha1.ConditionReady)
			for _, secret := range []string{holder.Namespace, holder.Name, string(holder.UID), second.Spec.SHA256, before.Name} {
				if strings.Contains(ready.Message, secret) {
					t.Errorf("the message tells %q: %s", secret, ready.Message)
				}
			}
			if len(second.Finalizers) > 0 || len(second.Status.Keys) > 0 {
				t.Errorf("finalizers %v, status %+v", second.Finalizers, second.Status)
			}
			must(t, c.admin.Delete(t.Context(), second))
			c.gone(second)
			if after := c.recordSecret(holder); after.ResourceVersion != before.ResourceVersion {
				t.Error("the record was written")
			}
			must(t, c.get(holder))
			must(t, hasReason(holder.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive))

			must(t, c.admin.Delete(t.Context(), holder))
			c.gone(holder)
			c.becomes(third, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
			must(t, c.holds(third, token))
			if records := c.records(string(holder.UID)); len(records) > 0 {
				t.Errorf("%d records of the old holder are left", len(records))
			}
			must(t, c.admin.Delete(t.Context(), third))
			c.gone(third)
			c.recordBecomes(third, isTombstone)
		})
	}
}

// TestRevokedStaysRevoked: a key that was revoked can't be registered while its
// tombstone lives, also if it was deleted before the controller had heard of either.
func TestRevokedStaysRevoked(t *testing.T) {
	for name, atOnce := range map[string]bool{"and deleted later": false, "and deleted at once": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			stop := c.start()
			holder, token := holders["registered"](c)
			waiting := c.refused("waiting", token)
			if atOnce {
				stop()
			}
			c.patch(holder, `{"spec":{"state":"Revoked"}}`)
			if !atOnce {
				c.recordBecomes(holder, inState(apikey.Revoked))
			}
			must(t, c.admin.Delete(t.Context(), holder))
			if atOnce {
				c.start()
			}
			c.gone(holder)
			c.recordBecomes(holder, func(r *apikey.Record) bool { return r.State == apikey.Revoked && r.RetiredAt != nil })
			c.refused("another", token)
			c.poke(waiting)
			c.issued("passes-the-time")
			must(t, c.get(waiting))
			must(t, hasReason(waiting.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonDuplicateKey))

			must(t, c.admin.Delete(t.Context(), c.newKey("another")))
			c.clock.advance(retention + time.Minute)
			c.look(string(holder.UID))
			c.becomes(waiting, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
			must(t, c.holds(waiting, token))
		})
	}
}

// TestTwoControllersRegister: of APIKeys that register one key at the same time, under
// two controllers, one has it.
func TestTwoControllersRegister(t *testing.T) {
	c := newCluster(t)
	c.start()
	c.start()
	const keys, rivals = 15, 3
	tokens, all := make([][]byte, keys), make([][]*v1alpha1.APIKey, keys)
	for i := range keys {
		tokens[i] = elsewhere()
		for j := range rivals {
			all[i] = append(all[i], c.apply(c.newKey(fmt.Sprintf("rival-%d-%d", i, j), registering(tokens[i]))).(*v1alpha1.APIKey))
		}
	}
	for i, token := range tokens {
		for left := rivals; left > 0; left-- { // until every one has had the key
			var holder *v1alpha1.APIKey
			c.eventually(func() (err error) {
				holder, err = c.oneHolder(all[i], token)
				return err
			})
			must(t, c.admin.Delete(t.Context(), holder))
			c.gone(holder)
		}
	}
}

// oneHolder returns the one of several APIKeys that has a key, and an error unless all
// others that are there are refused.
func (c *cluster) oneHolder(keys []*v1alpha1.APIKey, token []byte) (holder *v1alpha1.APIKey, err error) {
	for _, key := range keys {
		if err := c.get(key); apierrors.IsNotFound(err) {
			continue
		}
		if hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive) != nil {
			err = errors.Join(err, hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonDuplicateKey))
			continue
		}
		if holder != nil {
			return nil, errors.New("two have the key")
		}
		holder = key
	}
	if holder == nil || err != nil {
		return nil, errors.Join(errors.New("nobody has the key yet"), err)
	}
	return holder, c.holds(holder, token)
}

// TestPeppersOfDuplicates: a key is known under every live pepper, minted or not.
func TestPeppersOfDuplicates(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	holder, token := holders["minted"](c)
	stop()
	root := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: keysecret.RootName}}
	must(t, c.get(root))
	root.Data["pepper-2"] = []byte(strings.Repeat("p", apikey.PepperSize))
	must(t, c.admin.Update(t.Context(), root))
	c.start()
	waiting := c.refused("waiting", token)
	must(t, c.admin.Delete(t.Context(), holder))
	c.gone(holder)
	c.becomes(waiting, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	must(t, c.holds(waiting, token))
	if r := c.record(waiting); r.Pepper != 2 {
		t.Errorf("it is keyed with pepper %d", r.Pepper)
	}
	c.recordBecomes(holder, isTombstone)
}
