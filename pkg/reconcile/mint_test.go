package reconcile

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

func TestIssueAndDeliver(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.apply(c.newKey("pipeline")).(*v1alpha1.APIKey)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionDelivered, v1alpha1.ReasonDelivered))
	must(t, c.oneLiveToken(key))

	record := c.record(key)
	secret, err := c.delivery(key)
	must(t, err)
	if secret.Type != keysecret.TypeToken || !metav1.IsControlledBy(secret, key) || len(secret.Data) != 2 {
		t.Errorf("delivery Secret: type %s, owners %v, %d members", secret.Type, secret.OwnerReferences, len(secret.Data))
	}
	if got := len(secret.Data[tokenField]); got != len("sk_")+48 {
		t.Errorf("the token has %d characters", got)
	}
	if got, want := string(secret.Data[authorizationField]), "Authorization: Bearer "+string(secret.Data[tokenField]); got != want {
		t.Error("the header line is not the token's")
	}
	if record.DeliveryUID != string(secret.UID) || record.DeliveredAt == nil || record.Environment != "live" || record.Policy.UID != string(c.policy.UID) {
		t.Errorf("record: %+v", record)
	}
	if len(key.Status.Keys) != 1 || key.Status.Keys[0].ID != record.Digest.ID() || key.Status.Hint == "" || key.Status.Environment != "live" || len(key.Status.Scopes) != 1 {
		t.Errorf("status: %+v", key.Status)
	}
	c.eventually(func() error {
		if err := c.get(c.policy); err != nil {
			return err
		}
		if c.policy.Status.Keys != 1 {
			return fmt.Errorf("the policy counts %d keys, want 1", c.policy.Status.Keys)
		}
		return nil
	})
}

// TestKilledAtEveryWrite kills the controller at each of its writes in turn, once
// before the write is made and once after, and lets a new one take over.
func TestKilledAtEveryWrite(t *testing.T) {
	c := newCluster(t)
	c.guard()
	warm := c.start()
	c.policyBecomes(c.policy, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted)
	warm()
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			kill := &killSwitch{at: n, after: after}
			key := c.apply(c.newKey(fmt.Sprintf("killed-%t-%d", after, n))).(*v1alpha1.APIKey)
			stop := c.start(func(o *Options) { o.wrap = kill.wrap })
			c.eventually(func() error {
				if kill.isKilled() {
					return nil
				}
				must(t, c.get(key))
				return hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
			})
			stop()
			if !kill.isKilled() {
				if n < 6 {
					t.Errorf("a mint took %d writes: too few to have been killed at all of them", n-1)
				}
				break
			}
			stop = c.start()
			c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
			if err := c.oneLiveToken(key); err != nil {
				t.Errorf("killed at write %d (after: %t): %v", n, after, err)
			}
			c.noSecondToken(key)
			stop()
		}
	}
}

// TestStalledAtEveryWrite stalls the controller at each of its writes in turn, for
// so long that another one has done its work when it makes the write: where the
// delivery Secret is made, and where one of the APIKey's own is written over.
func TestStalledAtEveryWrite(t *testing.T) {
	c := newCluster(t)
	c.guard()
	warm := c.start()
	c.policyBecomes(c.policy, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted)
	warm()
	for _, over := range []bool{false, true} {
		for n := 1; c.stalledAt(n, over); n++ {
		}
	}
}

// stalledAt reports whether there was an n-th write to be stalled at.
func (c *cluster) stalledAt(n int, over bool) bool {
	stall := &killSwitch{at: n, resume: make(chan struct{})}
	key := c.apply(c.newKey(fmt.Sprintf("stalled-%t-%d", over, n))).(*v1alpha1.APIKey)
	if over {
		c.apply(ownSecret(key))
	}
	stopStalled := c.start(func(o *Options) { o.wrap = stall.wrap })
	c.eventually(func() error {
		if stall.isKilled() {
			return nil
		}
		must(c.TB, c.get(key))
		return hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	})
	if !stall.isKilled() {
		stopStalled()
		return false
	}
	stop := c.start()
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	close(stall.resume)
	c.eventually(func() error {
		if !stall.isQuiet() {
			return errors.New("the stalled controller is at work")
		}
		return c.oneLiveToken(key)
	})
	stopStalled()
	if err := c.oneLiveToken(key); err != nil {
		c.Errorf("stalled at write %d: %v", n, err)
	}
	stop()
	return true
}

// ownSecret is a delivery Secret as a crash may leave it, with a dead token.
func ownSecret(key *v1alpha1.APIKey) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: deliveryName(key), OwnerReferences: []metav1.OwnerReference{controllerRef(key)}},
		Type:       keysecret.TypeToken,
		Data:       map[string][]byte{tokenField: []byte("dead")},
	}
}

// guard watches, until the test ends, that no two records of one serial are Active
// at any moment, and that a record which becomes Active was delivered.
func (c *cluster) guard() {
	c.Helper()
	events, err := c.admin.Watch(c.Context(), &corev1.SecretList{}, client.InNamespace(keysNamespace))
	must(c.TB, err)
	done := make(chan struct{})
	c.Cleanup(func() {
		events.Stop()
		<-done
	})
	go func() {
		defer close(done)
		active := map[string]apikey.Digest{} // owner uid and serial → the Active digest
		for event := range events.ResultChan() {
			if secret, ok := event.Object.(*corev1.Secret); ok && secret.Type == keysecret.TypeRecord {
				c.guardRecord(active, secret, event.Type == watch.Deleted)
			}
		}
	}()
}

func (c *cluster) guardRecord(active map[string]apikey.Digest, secret *corev1.Secret, deleted bool) {
	r := formOf(c.root().Sealer, secret).record
	if r == nil {
		c.Errorf("%s is not sealed", secret.Name)
		return
	}
	serial := fmt.Sprint(r.Owner.UID, " ", r.Serial)
	known, was := active[serial]
	switch {
	case r.State == apikey.Active && !deleted && was && known != r.Digest:
		c.Errorf("%s has two Active records of serial %d", r.Owner.Name, r.Serial)
	case r.State == apikey.Active && !deleted && !was:
		active[serial] = r.Digest
		if r.DeliveredAt == nil || r.DeliveryUID == "" {
			c.Errorf("the record of %s is Active but not delivered", r.Owner.Name)
		}
	case was && known == r.Digest && (deleted || r.State != apikey.Active):
		delete(active, serial)
	}
}

// TestRevokedWhileStalled: a token that was delivered for a key which is revoked
// before it ever worked is taken back.
func TestRevokedWhileStalled(t *testing.T) {
	c := newCluster(t)
	c.guard()
	warm := c.start()
	c.policyBecomes(c.policy, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted)
	warm()
	stall := &killSwitch{at: 5, resume: make(chan struct{})} // the record, Active
	key := c.apply(c.newKey("too-late")).(*v1alpha1.APIKey)
	c.start(func(o *Options) { o.wrap = stall.wrap })
	c.eventually(func() error {
		if !stall.isKilled() {
			return errors.New("not stalled yet")
		}
		return nil
	})
	if _, err := c.delivery(key); err != nil {
		t.Fatalf("it stalled before the delivery: %v", err)
	}
	c.patch(key, `{"spec":{"state":"Revoked"}}`)
	c.start()
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
	c.recordBecomes(key, inState(apikey.Revoked))
	close(stall.resume)
	c.eventually(func() error {
		if _, err := c.delivery(key); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the delivery Secret: %v", err)
		}
		return nil
	})
	if got := c.record(key).State; got != apikey.Revoked {
		t.Errorf("the record is %s", got)
	}
}

// noSecondToken makes sure that what a killed controller left behind is no key.
func (c *cluster) noSecondToken(key *v1alpha1.APIKey) {
	c.Helper()
	for name, r := range c.records(string(key.UID)) {
		if r.State != apikey.Active && r.State != apikey.Pending {
			c.Errorf("%s: a second record %s is %s", key.Name, name, r.State)
		}
	}
}

// TestTwoControllers runs two of them without leader election, each with a patience
// so short that they take each other for dead.
func TestTwoControllers(t *testing.T) {
	c := newCluster(t)
	c.guard()
	impatient := func(o *Options) { o.recoverAfter = quick / 10 }
	c.start(impatient)
	c.start(impatient)
	const count = 50
	var keys []*v1alpha1.APIKey
	for i := range count {
		keys = append(keys, c.apply(c.newKey(fmt.Sprintf("both-%d", i))).(*v1alpha1.APIKey))
	}
	for _, key := range keys {
		c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	}
	for _, key := range keys {
		if err := c.oneLiveToken(key); err != nil {
			t.Error(err)
		}
	}
}

func TestDeliveryConflict(t *testing.T) {
	c := newCluster(t)
	c.start()
	owner := func(kind string, controller bool) metav1.OwnerReference {
		return metav1.OwnerReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind, Name: "x", UID: "11111111-2222-3333-4444-555555555555", Controller: &controller}
	}
	immutable := true
	for name, secret := range map[string]*corev1.Secret{
		"an opaque one":                     {Type: corev1.SecretTypeOpaque},
		"one of our type":                   {Type: keysecret.TypeToken},
		"one of another APIKey":             {Type: keysecret.TypeToken, ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{owner("APIKey", true)}}},
		"one that another owns but for all": {Type: keysecret.TypeToken, ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{owner("APIKey", false)}}},
		"an immutable one":                  {Type: keysecret.TypeToken, Immutable: &immutable},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.beside(t)
			secret := secret.DeepCopy()
			secret.Namespace, secret.Name, secret.Data = c.namespace, "taken", map[string][]byte{"password": []byte("hunter2")}
			c.apply(secret)
			key := c.apply(c.newKey("key", func(s *v1alpha1.APIKeySpec) { s.Delivery.SecretName = "taken" })).(*v1alpha1.APIKey)
			c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonDeliveryConflict)
			must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionDelivered, v1alpha1.ReasonDeliveryConflict))
			before := secret.ResourceVersion
			must(t, c.get(secret))
			if secret.ResourceVersion != before {
				t.Error("the foreign Secret was written")
			}
			for _, r := range c.records(string(key.UID)) {
				t.Errorf("a record is left: %s", r.State)
			}
			must(t, c.admin.Delete(t.Context(), secret))
			c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
			must(t, c.oneLiveToken(key))
		})
	}
}

// TestDeliveryOverOwnSecret: what a crash left of a delivery is written over.
func TestDeliveryOverOwnSecret(t *testing.T) {
	c := newCluster(t)
	key := c.apply(c.newKey("mine")).(*v1alpha1.APIKey)
	c.apply(ownSecret(key))
	c.start()
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	must(t, c.oneLiveToken(key))
}

// TestNothingIssued: what forbids a mint, and that lifting it is enough.
func TestNothingIssued(t *testing.T) {
	c := newCluster(t)
	c.start()
	for name, test := range map[string]struct {
		key    func(*v1alpha1.APIKeySpec)
		reason string
		lift   string
	}{
		"revoked": {
			key:    func(s *v1alpha1.APIKeySpec) { s.State = v1alpha1.StateRevoked },
			reason: v1alpha1.ReasonRevoked,
		},
		"expired": {
			key:    func(s *v1alpha1.APIKeySpec) { at := metav1.Unix(1000, 0); s.ExpiresAt = &at },
			reason: v1alpha1.ReasonExpired,
			lift:   `{"spec":{"expiresAt":null}}`,
		},
		"no policy": {
			key:    func(s *v1alpha1.APIKeySpec) { s.PolicyRef.Name = "nowhere" },
			reason: v1alpha1.ReasonPolicyNotFound,
		},
		"a scope that is not declared": {
			key:    func(s *v1alpha1.APIKeySpec) { s.Scopes = append(s.Scopes, "fly") },
			reason: v1alpha1.ReasonScopesNotGranted,
			lift:   `{"spec":{"scopes":["read"]}}`,
		},
		"an environment that is not declared": {
			key:    func(s *v1alpha1.APIKeySpec) { s.Environment = "moon" },
			reason: v1alpha1.ReasonEnvironmentNotGranted,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.beside(t)
			key := c.apply(c.newKey("key", test.key)).(*v1alpha1.APIKey)
			c.becomes(key, v1alpha1.ConditionReady, test.reason)
			must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionDelivered, v1alpha1.ReasonNothingIssued))
			if records := c.records(string(key.UID)); len(records) > 0 {
				t.Errorf("%d records", len(records))
			}
			if _, err := c.delivery(key); client.IgnoreNotFound(err) != nil || err == nil {
				t.Errorf("delivery Secret: %v", err)
			}
			if test.lift == "" {
				return
			}
			c.patch(key, test.lift)
			c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
		})
	}
}
