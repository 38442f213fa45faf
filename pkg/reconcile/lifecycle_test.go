package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// issued applies an APIKey and waits until it works.
func (c *cluster) issued(name string, change ...func(*v1alpha1.APIKeySpec)) *v1alpha1.APIKey {
	c.Helper()
	key := c.apply(c.newKey(name, change...)).(*v1alpha1.APIKey)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	return key
}

// recordBecomes waits until the one record of an APIKey passes check.
func (c *cluster) recordBecomes(key *v1alpha1.APIKey, check func(*apikey.Record) bool) {
	c.Helper()
	c.eventually(func() error {
		for _, r := range c.records(string(key.UID)) {
			if check(r) {
				return nil
			}
		}
		return fmt.Errorf("no record of %s is as it should be: %+v", key.Name, c.records(string(key.UID)))
	})
}

func inState(state apikey.State) func(*apikey.Record) bool {
	return func(r *apikey.Record) bool { return r.State == state }
}

func TestEdits(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("edited")
	before := c.record(key)

	c.patch(key, `{"spec":{"scopes":["write","read"],"expiresAt":"2099-01-01T00:00:00Z","metadata":{"team":"acme"}}}`)
	c.recordBecomes(key, func(r *apikey.Record) bool { return len(r.Scopes) == 2 })
	got := c.record(key)
	expiry := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	want := *before
	want.Scopes, want.ExpiresAt, want.Metadata, want.Revision = []string{"read", "write"}, &expiry, map[string]string{"team": "acme"}, before.Revision+1
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	c.eventually(func() error {
		must(t, c.get(key))
		if key.Status.ExpiresAt == nil || !key.Status.ExpiresAt.Time.Equal(expiry) || len(key.Status.Scopes) != 2 || key.Status.ObservedGeneration != key.Generation {
			return fmt.Errorf("status: %+v", key.Status)
		}
		return nil
	})

	c.patch(key, `{"spec":{"scopes":null,"expiresAt":null,"metadata":null}}`)
	c.recordBecomes(key, func(r *apikey.Record) bool { return len(r.Scopes) == 0 && r.ExpiresAt == nil && r.Metadata == nil })
}

func TestSuspendResumeRevoke(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("switched")
	c.patch(key, `{"spec":{"state":"Suspended"}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended)
	c.recordBecomes(key, inState(apikey.Suspended))
	c.patch(key, `{"spec":{"state":"Active"}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	c.recordBecomes(key, inState(apikey.Active))
	c.patch(key, `{"spec":{"state":"Revoked"}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
	c.recordBecomes(key, inState(apikey.Revoked))
	c.hasEvents(key, eventIssued, eventDelivered, eventSuspended, eventResumed, eventRevoked)

	// Nothing that happens to the status or to the APIKey brings it back.
	must(t, c.admin.Status().Patch(t.Context(), key, mergePatch(`{"status":null}`)))
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
	if got := c.record(key).State; got != apikey.Revoked {
		t.Errorf("the record is %s", got)
	}
}

// hasEvents waits for Events with these reasons.
func (c *cluster) hasEvents(about metav1.Object, reasons ...string) {
	c.Helper()
	c.eventually(func() error {
		list := &corev1.EventList{}
		must(c.TB, c.admin.List(c.Context(), list))
		for _, reason := range reasons {
			if !slices.ContainsFunc(list.Items, func(e corev1.Event) bool {
				return e.InvolvedObject.UID == about.GetUID() && e.Reason == reason
			}) {
				return fmt.Errorf("no Event %s about %s", reason, about.GetName())
			}
		}
		return nil
	})
}

// A key that is suspended from the start is delivered, and lets nobody in.
func TestSuspendedFromTheStart(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.apply(c.newKey("asleep", func(s *v1alpha1.APIKeySpec) { s.State = v1alpha1.StateSuspended })).(*v1alpha1.APIKey)
	c.becomes(key, v1alpha1.ConditionDelivered, v1alpha1.ReasonDelivered)
	must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended))
	if got := c.record(key).State; got != apikey.Suspended {
		t.Errorf("the record is %s", got)
	}
}

// ends is a patch that gives an APIKey an end. One that is made with an end which is
// near may be over before it is issued.
func ends(at time.Time) string {
	return fmt.Sprintf(`{"spec":{"expiresAt":%q}}`, at.UTC().Format(time.RFC3339))
}

// The Ready condition turns at the moment of expiry, by a timer.
func TestExpiry(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("short-lived")
	c.patch(key, ends(time.Now().Add(3*time.Second)))
	revision := key.ResourceVersion
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonExpired)
	if time.Now().Before(key.Spec.ExpiresAt.Time) {
		t.Error("expired before its time")
	}
	ready := meta.FindStatusCondition(key.Status.Conditions, v1alpha1.ConditionReady)
	if late := ready.LastTransitionTime.Sub(key.Spec.ExpiresAt.Time); late < 0 {
		t.Errorf("told %s before its time", -late)
	}
	if revision == key.ResourceVersion {
		t.Error("the status was not written")
	}
	c.hasEvents(key, eventExpired)
	if got := c.record(key).State; got != apikey.Active {
		t.Errorf("the record is %s: its expiry is judged per request", got)
	}
	c.patch(key, `{"spec":{"expiresAt":null}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
}

// handOverSoon ends the wait for a token to be collected. It is for a key that the test
// has looked at: one that is made with it may be handed over before.
const handOverSoon = `{"spec":{"delivery":{"ttl":"1s"}}}`

func TestHandOver(t *testing.T) {
	c := newCluster(t)
	c.start()
	for name, test := range map[string]struct {
		// meanwhile is what the tenant does to the delivery Secret.
		meanwhile func(*cluster, *corev1.Secret)
		// stays: a Secret of the name is there in the end.
		stays bool
	}{
		"the time is up": {},
		"collected before": {meanwhile: func(c *cluster, s *corev1.Secret) {
			must(c.TB, c.admin.Delete(c.Context(), s))
		}},
		"another Secret took its place": {stays: true, meanwhile: func(c *cluster, s *corev1.Secret) {
			must(c.TB, c.admin.Delete(c.Context(), s))
			c.apply(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}})
		}},
		"taken over by the tenant": {stays: true, meanwhile: func(c *cluster, s *corev1.Secret) {
			c.patch(s, `{"metadata":{"ownerReferences":null}}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.beside(t)
			key := c.issued("handed")
			secret, err := c.delivery(key)
			must(t, err)
			if test.meanwhile != nil {
				test.meanwhile(c, secret)
			}
			c.patch(key, handOverSoon)
			c.becomes(key, v1alpha1.ConditionDelivered, v1alpha1.ReasonHandedOver)
			must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive))
			if !c.record(key).HandedOver {
				t.Error("the record does not say so")
			}
			if _, err := c.delivery(key); apierrors.IsNotFound(err) == test.stays {
				t.Errorf("the Secret of the name: %v", err)
			}
			c.hasEvents(key, eventHandedOver)
		})
	}
}

func TestKeep(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("kept", func(s *v1alpha1.APIKeySpec) { s.Delivery.Retain = v1alpha1.RetainKeep })
	c.clock.advance(1000 * time.Hour)
	c.poke(key)
	c.patch(key, `{"spec":{"metadata":{"seen":"yes"}}}`)
	c.recordBecomes(key, func(r *apikey.Record) bool { return r.Metadata["seen"] == "yes" })
	must(t, c.oneLiveToken(key))
	must(t, c.get(key))
	must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionDelivered, v1alpha1.ReasonDelivered))
}

// A day is the default, counted on the injected clock.
func TestDefaultTTL(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("uncollected")
	c.clock.advance(defaultTTL - time.Minute)
	c.patch(key, `{"spec":{"metadata":{"seen":"yes"}}}`)
	c.recordBecomes(key, func(r *apikey.Record) bool { return r.Metadata["seen"] == "yes" })
	must(t, c.oneLiveToken(key))
	c.clock.advance(time.Minute + time.Second)
	c.poke(key)
	c.becomes(key, v1alpha1.ConditionDelivered, v1alpha1.ReasonHandedOver)
	if _, err := c.delivery(key); !apierrors.IsNotFound(err) {
		t.Errorf("the delivery Secret: %v", err)
	}
}

// Status is written, never read: forged or erased, it is rebuilt, and nothing else
// happens.
func TestStatusDecidesNothing(t *testing.T) {
	c := newCluster(t)
	c.start()
	for name, patch := range map[string]string{
		"erased":                    `{"status":null}`,
		"forged ready":              `{"status":{"conditions":[{"type":"Ready","status":"False","reason":"Pending","message":"","lastTransitionTime":"2020-01-01T00:00:00Z"}],"keys":null,"hint":"sk_0000"}}`,
		"forged not delivered":      `{"status":{"conditions":[{"type":"Delivered","status":"False","reason":"Pending","message":"","lastTransitionTime":"2099-01-01T00:00:00Z"}]}}`,
		"a condition of one's own":  `{"status":{"conditions":[{"type":"Blessed","status":"True","reason":"So","message":"","lastTransitionTime":"2020-01-01T00:00:00Z"}]}}`,
		"forged scopes and expiry":  `{"status":{"scopes":["admin"],"expiresAt":"2020-01-01T00:00:00Z","environment":"test"}}`,
		"forged keys, another hint": `{"status":{"keys":[{"id":"0123456789abcdef","serial":1,"state":"Active"}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := c.beside(t)
			key := c.issued("forged")
			want, before := key.Status.DeepCopy(), c.recordSecret(key)
			must(t, c.admin.Status().Patch(t.Context(), key, mergePatch(patch)))
			c.eventually(func() error {
				must(t, c.get(key))
				got := key.Status.DeepCopy()
				for i := range got.Conditions {
					got.Conditions[i].LastTransitionTime = want.Conditions[min(i, len(want.Conditions)-1)].LastTransitionTime
				}
				if diff := cmp.Diff(want, got); diff != "" {
					return errors.New(diff)
				}
				return nil
			})
			for _, condition := range key.Status.Conditions {
				if condition.LastTransitionTime.After(time.Now().Add(time.Minute)) {
					t.Errorf("%s turned in the future: %s", condition.Type, condition.LastTransitionTime)
				}
			}
			if after := c.recordSecret(key); after.ResourceVersion != before.ResourceVersion {
				t.Error("the record was written")
			}
			must(t, c.oneLiveToken(key))
		})
	}
}
