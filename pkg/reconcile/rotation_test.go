package reconcile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

func keeps(s *v1alpha1.APIKeySpec) { s.Delivery.Retain = v1alpha1.RetainKeep }

// raise asks for a rotation.
func (c *cluster) raise(key *v1alpha1.APIKey, serial int64) {
	c.Helper()
	c.patch(key, fmt.Sprintf(`{"spec":{"rotation":{"serial":%d}}}`, serial))
}

// rotates asks for a rotation and waits until it is through.
func (c *cluster) rotates(key *v1alpha1.APIKey, serial int64) {
	c.Helper()
	c.raise(key, serial)
	c.eventually(func() error { return c.rotatedTo(key, serial) })
}

// rotatedTo returns an error unless the newest token of an APIKey has a serial, works
// and is the one in the delivery Secret, there is one of each serial, and the older ones
// that work have an end.
func (c *cluster) rotatedTo(key *v1alpha1.APIKey, serial int64) error {
	must(c.TB, c.get(key))
	if keys := key.Status.Keys; len(keys) == 0 || keys[0].Serial != serial || key.Status.ObservedGeneration != key.Generation {
		return fmt.Errorf("the status of %s: %+v", key.Name, key.Status)
	}
	bySerial := map[int64]*apikey.Record{}
	for _, r := range c.records(string(key.UID)) {
		if r.State == apikey.Pending {
			continue
		}
		if bySerial[r.Serial] != nil {
			return fmt.Errorf("%s has two tokens of serial %d", key.Name, r.Serial)
		}
		bySerial[r.Serial] = r
	}
	newest := bySerial[serial]
	if newest == nil || newest.State != apikey.Active {
		return fmt.Errorf("the newest record of %s is %+v", key.Name, newest)
	}
	for s, r := range bySerial {
		if s < serial && r.State == apikey.Active && (r.ExpiresAt == nil || !r.HandedOver) {
			return fmt.Errorf("an older token of %s: %+v", key.Name, r)
		}
	}
	return c.delivers(key, newest)
}

// delivers returns an error unless the delivery Secret holds the token of a record.
func (c *cluster) delivers(key *v1alpha1.APIKey, r *apikey.Record) error {
	secret, err := c.delivery(key)
	if err != nil {
		return err
	}
	if digest, _ := c.root().Peppers.Sum(secret.Data[tokenField]); digest != r.Digest || secret.Annotations[keyIDAnnotation] != digest.ID() || string(secret.UID) != r.DeliveryUID {
		return fmt.Errorf("the delivery Secret of %s holds the token of key %s, want %s", key.Name, digest.ID(), r.Digest.ID())
	}
	return nil
}

// serial is the record of one.
func (c *cluster) serial(key *v1alpha1.APIKey, serial int64) *apikey.Record {
	c.Helper()
	for _, r := range c.records(string(key.UID)) {
		if r.Serial == serial && r.State != apikey.Pending {
			return r
		}
	}
	c.Fatalf("%s has no token of serial %d", key.Name, serial)
	return nil
}

// TestRotate: a rotation delivers over our own Secret, or makes it again where it was
// collected, and says nothing of the earlier token there.
func TestRotate(t *testing.T) {
	c := newCluster(t)
	c.start()
	for name, test := range map[string]struct {
		spec func(*v1alpha1.APIKeySpec)
		// meanwhile is what becomes of the delivery Secret; over: the new token is in it.
		meanwhile func(*cluster, *corev1.Secret)
		over      bool
	}{
		"kept":            {keeps, nil, true},
		"not collected":   {func(*v1alpha1.APIKeySpec) {}, nil, true},
		"collected":       {func(*v1alpha1.APIKeySpec) {}, func(c *cluster, s *corev1.Secret) { must(c.TB, c.admin.Delete(c.Context(), s)) }, false},
		"kept, but taken": {keeps, func(c *cluster, s *corev1.Secret) { must(c.TB, c.admin.Delete(c.Context(), s)) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.beside(t)
			key := c.issued("rotated", test.spec, func(s *v1alpha1.APIKeySpec) { s.Delivery.EnvVar = "API_KEY" })
			before, err := c.delivery(key)
			must(t, err)
			if got, want := string(before.Data[envField]), "API_KEY="+string(before.Data[tokenField])+"\n"; got != want {
				t.Error("the .env line is not the token's")
			}
			c.patch(before, `{"data":{"mine":"eA=="}}`)
			if test.meanwhile != nil {
				test.meanwhile(c, before)
			}
			c.patch(key, `{"spec":{"delivery":{"envVar":null}}}`)
			c.rotates(key, 2)
			after, err := c.delivery(key)
			must(t, err)
			members := slices.Sorted(maps.Keys(after.Data))
			want := []string{authorizationField, tokenField}
			if test.over {
				want = []string{authorizationField, "mine", tokenField}
			}
			if diff := cmp.Diff(want, members); diff != "" {
				t.Errorf("the Secret's members (-want +got):\n%s", diff)
			}
			if (after.UID == before.UID) != test.over {
				t.Errorf("Secret %s, was %s", after.UID, before.UID)
			}
			if got, want := string(after.Data[authorizationField]), "Authorization: Bearer "+string(after.Data[tokenField]); got != want {
				t.Error("the header line is not the new token's")
			}
			for name, value := range after.Data {
				if strings.Contains(string(value), string(before.Data[tokenField])) {
					t.Errorf("%s is the old token", name)
				}
			}
			c.says(key, eventRotated, c.serial(key, 2).Digest.ID(), c.serial(key, 1).Digest.ID(), stamp(*c.serial(key, 1).ExpiresAt))
		})
	}
}

// says waits for an Event with a reason whose note holds all of these.
func (c *cluster) says(key *v1alpha1.APIKey, reason string, words ...string) {
	c.Helper()
	c.eventually(func() error {
		list := &corev1.EventList{}
		must(c.TB, c.admin.List(c.Context(), list))
		for _, e := range list.Items {
			if e.InvolvedObject.UID == key.UID && e.Reason == reason && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(e.Message, word) }) {
				return nil
			}
		}
		return fmt.Errorf("no Event %s about %s with %q", reason, key.Name, words)
	})
}

// TestOverlap: its end is a timer of the controller, can be moved, and is for good.
func TestOverlap(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("overlapping", keeps)
	c.rotates(key, 2)
	c.patch(key, `{"spec":{"rotation":{"overlap":"2s"}}}`)
	c.eventually(func() error {
		if r := c.serial(key, 1); r.State != apikey.Rotated {
			return fmt.Errorf("record: %+v", r)
		}
		return nil
	})
	end := c.serial(key, 2).DeliveredAt.Add(2 * time.Second)
	if got := c.serial(key, 1).ExpiresAt; got == nil || got.After(end.Add(time.Second)) || c.clock.now().Before(end) {
		t.Errorf("it ended at %v, want %s", got, end)
	}
	c.says(key, eventOverlapEnded, c.serial(key, 1).Digest.ID())
	c.patch(key, `{"spec":{"rotation":{"overlap":"1000h"}}}`)
	c.settled(key)
	if r := c.serial(key, 1); r.State != apikey.Rotated {
		t.Errorf("it came back: %+v", r)
	}
	c.patch(key, `{"spec":{"rotation":{"overlap":"0s","serial":3}}}`)
	c.eventually(func() error { return c.rotatedTo(key, 3) })
	if r := c.serial(key, 2); r.State != apikey.Rotated {
		t.Errorf("record: %+v", r)
	}
	c.says(key, eventRotated, c.serial(key, 2).Digest.ID()+", which no longer works")
	if states := []string{key.Status.Keys[0].State, key.Status.Keys[1].State, key.Status.Keys[2].State}; !slices.Equal(states, []string{"Active", "Rotated", "Rotated"}) {
		t.Errorf("the status says %v", states)
	}
	c.eventually(func() error {
		if l := formOf(c.root().Sealer, c.ledgerSecret(key)).ledger; l == nil || len(l.Entries) != 1 || l.Entries[3].Digest != c.serial(key, 3).Digest {
			return fmt.Errorf("ledger: %+v", l)
		}
		return nil
	})
}

// TestRotatesByItself: it is announced, done when its time has come, and told.
func TestRotatesByItself(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.apply(c.newKey("periodic", keeps)).(*v1alpha1.APIKey)
	c.patch(key, `{"spec":{"rotation":{"every":"1000h"}}}`)
	c.becomes(key, v1alpha1.ConditionRotatingSoon, v1alpha1.ReasonScheduled)
	if next := c.serial(key, 1).DeliveredAt.Add(1000 * time.Hour); key.Status.NextRotationAt == nil || !key.Status.NextRotationAt.Time.Equal(next.Truncate(time.Second)) {
		t.Errorf("the next rotation is at %v, want %s", key.Status.NextRotationAt, next)
	}
	c.clock.advance(1000*time.Hour - maxNotice + time.Second)
	c.poke(key)
	c.becomes(key, v1alpha1.ConditionRotatingSoon, v1alpha1.ReasonRotatingSoon)
	c.says(key, eventRotatingSoon, "the token is replaced at")
	c.clock.advance(maxNotice)
	c.poke(key)
	c.eventually(func() error { return c.rotatedTo(key, 2) })
	must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionRotatingSoon, v1alpha1.ReasonScheduled))
	c.says(key, eventRotated)
	c.patch(key, `{"spec":{"rotation":{"every":null}}}`)
	c.eventually(func() error {
		must(t, c.get(key))
		if key.Status.NextRotationAt != nil || hasReason(key.Status.Conditions, v1alpha1.ConditionRotatingSoon, v1alpha1.ReasonScheduled) == nil {
			return fmt.Errorf("status: %+v", key.Status)
		}
		return nil
	})
}

// TestConflictOfRotation: where the new token can't be delivered the old one works on.
func TestConflictOfRotation(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("conflicting")
	secret, err := c.delivery(key)
	must(t, err)
	must(t, c.admin.Delete(t.Context(), secret))
	foreign := &corev1.Secret{}
	foreign.Namespace, foreign.Name, foreign.Data = c.namespace, deliveryName(key), map[string][]byte{"password": []byte("hunter2")}
	c.apply(foreign)
	version := foreign.ResourceVersion
	c.raise(key, 2)
	c.becomes(key, v1alpha1.ConditionDelivered, v1alpha1.ReasonDeliveryConflict)
	must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive))
	if said := key.Status.Conditions[0].Message; !strings.Contains(said, "the new token cannot be delivered") {
		t.Errorf("Ready says: %s", said)
	}
	if r := c.serial(key, 1); r.State != apikey.Active || r.ExpiresAt != nil {
		t.Errorf("record: %+v", r)
	}
	if len(c.records(string(key.UID))) != 1 {
		t.Error("a record of the new token is left")
	}
	must(t, c.get(foreign))
	if foreign.ResourceVersion != version {
		t.Error("the foreign Secret was written")
	}
	must(t, c.admin.Delete(t.Context(), foreign))
	c.eventually(func() error { return c.rotatedTo(key, 2) })
}

// TestCollected: who says that the newest token was collected has its Secret deleted.
func TestCollected(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("collected")
	collected := func(id string) {
		c.patch(key, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.AnnotationCollected, id))
	}
	first := c.serial(key, 1).Digest.ID()
	collected("0123456789abcdef")
	c.rotates(key, 2)
	collected(first)
	c.rotates(key, 3) // neither had an effect by then
	collected(c.serial(key, 3).Digest.ID())
	c.becomes(key, v1alpha1.ConditionDelivered, v1alpha1.ReasonHandedOver)
	if _, err := c.delivery(key); !apierrors.IsNotFound(err) {
		t.Errorf("the delivery Secret: %v", err)
	}
	c.says(key, eventHandedOver, "collected", c.serial(key, 3).Digest.ID())
	c.rotates(key, 4)
	must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionDelivered, v1alpha1.ReasonDelivered))
}

// TestManyRotations: records, ledger and status of one APIKey stay small, and what was
// removed does not pass for lost.
func TestManyRotations(t *testing.T) {
	c := newCluster(t)
	registry := prometheus.NewPedanticRegistry()
	c.start(func(o *Options) { o.Registerer = registry })
	key := c.issued("often", keeps)
	c.patch(key, `{"spec":{"rotation":{"overlap":"0s"}}}`)
	const rotations = maxTombstones + 4
	for serial := int64(2); serial <= rotations; serial++ {
		c.rotates(key, serial)
	}
	c.eventually(func() error {
		must(t, c.get(key))
		if records := c.records(string(key.UID)); len(records) != maxTombstones+1 || len(key.Status.Keys) != maxTombstones+1 {
			return fmt.Errorf("%d records, %d keys in the status", len(records), len(key.Status.Keys))
		}
		return nil
	})
	c.issued("passes-the-time")
	if got := metric(t, registry, "keygate_drift_restored_total"); got != 0 {
		t.Errorf("%v tombstones were put back", got)
	}
	// But one that is kept is put back.
	lost := c.serial(key, rotations-1)
	must(t, c.admin.Delete(t.Context(), &corev1.Secret{ObjectMeta: bareName(keysecret.RecordName(lost.Digest))}))
	c.undone(func() error {
		for _, r := range c.records(string(key.UID)) {
			if r.Digest == lost.Digest && r.State == apikey.Rotated {
				return nil
			}
		}
		return errors.New("it is still gone")
	})
}
