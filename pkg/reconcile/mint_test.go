package reconcile

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	if secret.Type != keysecret.TypeToken || !metav1.IsControlledBy(secret, key) || len(secret.Data) != 1 {
		t.Errorf("delivery Secret: type %s, owners %v, %d members", secret.Type, secret.OwnerReferences, len(secret.Data))
	}
	if got := len(secret.Data[tokenField]); got != len("sk_")+48 {
		t.Errorf("the token has %d characters", got)
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
// so long that another one has done its work when it makes the write.
func TestStalledAtEveryWrite(t *testing.T) {
	c := newCluster(t)
	warm := c.start()
	c.policyBecomes(c.policy, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted)
	warm()
	for n := 1; ; n++ {
		stall := &killSwitch{at: n, resume: make(chan struct{})}
		key := c.apply(c.newKey(fmt.Sprintf("stalled-%d", n))).(*v1alpha1.APIKey)
		stopStalled := c.start(func(o *Options) { o.wrap = stall.wrap })
		c.eventually(func() error {
			if stall.isKilled() {
				return nil
			}
			must(t, c.get(key))
			return hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
		})
		if !stall.isKilled() {
			return
		}
		stop := c.start()
		c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
		close(stall.resume)
		other := c.apply(c.newKey(fmt.Sprintf("other-%d", n))).(*v1alpha1.APIKey)
		c.becomes(other, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
		stopStalled() // waits for what it is doing
		if err := c.oneLiveToken(key); err != nil {
			t.Errorf("stalled at write %d: %v", n, err)
		}
		stop()
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
			c := newCluster(t)
			c.start()
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
	own := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "mine", OwnerReferences: []metav1.OwnerReference{controllerRef(key)}},
		Type:       keysecret.TypeToken,
		Data:       map[string][]byte{tokenField: []byte("dead")},
	}
	c.apply(own)
	c.start()
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	must(t, c.oneLiveToken(key))
}

// TestNothingIssued: what forbids a mint, and that lifting it is enough.
func TestNothingIssued(t *testing.T) {
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
			c := newCluster(t)
			c.start()
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
