package reconcile

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

// acceptedSecret is the Secret of a policy's accepted form, nil where there is none.
func (c *cluster) acceptedSecret(p *v1alpha1.APIKeyPolicy) *corev1.Secret {
	c.Helper()
	secret := &corev1.Secret{}
	err := c.admin.Get(c.Context(), client.ObjectKey{Namespace: keysNamespace, Name: keysecret.PolicyName(p.Namespace, p.Name)}, secret)
	if apierrors.IsNotFound(err) {
		return nil
	}
	must(c.TB, err)
	return secret
}

// acceptedForm is a policy's accepted form, nil where there is no sealed one.
func (c *cluster) acceptedForm(p *v1alpha1.APIKeyPolicy) *policy.Source {
	c.Helper()
	return formOf(c.root().Sealer, c.acceptedSecret(p)).policy
}

// twice is a rule that is there two times: only the compiler can see it.
const twice = `{"spec":{"rules":[{"paths":["/a"],"anyKey":true},{"paths":["/a"],"anonymous":true}]}}`

// A bad edit breaks nothing: the last good spec judges on, requests and keys.
func TestBadEdit(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("unharmed")
	good := c.acceptedForm(c.policy)
	c.patch(c.policy, twice)
	c.policyBecomes(c.policy, v1alpha1.ConditionAccepted, v1alpha1.ReasonInvalid)
	accepted := meta.FindStatusCondition(c.policy.Status.Conditions, v1alpha1.ConditionAccepted)
	if !strings.Contains(accepted.Message, fmt.Sprintf("generation %d stays in force", good.Generation)) {
		t.Errorf("message: %s", accepted.Message)
	}
	if got := c.acceptedForm(c.policy); got.Generation != good.Generation {
		t.Errorf("generation %d is in force, want %d", got.Generation, good.Generation)
	}
	c.hasEvents(c.policy, eventPolicyAccepted, eventPolicyInvalid)
	c.issued("issued-all-the-same")
	must(t, c.get(key))
	must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive))

	c.patch(c.policy, `{"spec":{"rules":[{"paths":["/a"],"anyKey":true}]}}`)
	c.policyBecomes(c.policy, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted)
	c.eventually(func() error {
		if got := c.acceptedForm(c.policy); got.Generation != c.policy.Generation {
			return fmt.Errorf("generation %d is in force", got.Generation)
		}
		return nil
	})
}

// A policy of which no spec was ever good: its keys wait. Those of other namespaces
// are not told that it exists.
func TestNeverAccepted(t *testing.T) {
	c := newCluster(t)
	c.start()
	bad := c.newPolicy("bad")
	bad.Namespace = c.namespace
	bad.Spec.Rules = append(bad.Spec.Rules, bad.Spec.Rules[0])
	c.apply(bad)
	c.policyBecomes(bad, v1alpha1.ConditionAccepted, v1alpha1.ReasonInvalid)
	own := c.apply(c.newKey("own", func(s *v1alpha1.APIKeySpec) { s.PolicyRef = v1alpha1.PolicyReference{Name: "bad"} })).(*v1alpha1.APIKey)
	c.becomes(own, v1alpha1.ConditionReady, v1alpha1.ReasonPolicyNotAccepted)
	other := c.newKey("other", func(s *v1alpha1.APIKeySpec) {
		s.PolicyRef = v1alpha1.PolicyReference{Name: "bad", Namespace: c.namespace}
	})
	other.Namespace = c.server.Namespace("other", nil)
	c.apply(other)
	c.becomes(other, v1alpha1.ConditionReady, v1alpha1.ReasonPolicyNotFound)
	if c.acceptedSecret(bad) != nil {
		t.Error("there is an accepted form")
	}
	c.patch(bad, `{"spec":{"rules":[{"paths":["/a"],"anyKey":true}]}}`)
	c.becomes(own, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
}

func TestPolicyTooLarge(t *testing.T) {
	c := newCluster(t)
	c.start()
	c.policyBecomes(c.policy, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted)
	good := c.acceptedForm(c.policy).Generation
	big := fmt.Sprintf(`{"message":%q}`, strings.Repeat("x", keysecret.MaxPolicySize/30))
	bodies := make([]string, 32)
	for i := range bodies {
		bodies[i] = fmt.Sprintf(`"%d":%s`, 400+i, big)
	}
	c.patch(c.policy, `{"spec":{"errors":{"bodies":{`+strings.Join(bodies, ",")+`}}}}`)
	c.eventually(func() error {
		must(t, c.get(c.policy))
		accepted := meta.FindStatusCondition(c.policy.Status.Conditions, v1alpha1.ConditionAccepted)
		if accepted == nil || accepted.Status != metav1.ConditionFalse {
			return fmt.Errorf("accepted: %+v", accepted)
		}
		return nil
	})
	if got := c.acceptedForm(c.policy).Generation; got != good {
		t.Errorf("generation %d is in force, want %d", got, good)
	}
}

func TestHostClaims(t *testing.T) {
	c := newCluster(t)
	c.start()
	older := c.apply(c.newPolicy("older", "api.example.com", "*.example.com")).(*v1alpha1.APIKeyPolicy)
	c.policyBecomes(older, v1alpha1.ConditionHostsClaimed, v1alpha1.ReasonClaimed)
	c.policyBecomes(c.policy, v1alpha1.ConditionHostsClaimed, v1alpha1.ReasonNoHosts)

	c.eventually(func() error { // a later second: claims are as old as creation times tell
		newer := c.newPolicy("newer", "www.example.com", "api.example.com")
		must(t, c.admin.Create(t.Context(), newer, client.DryRunAll))
		if !newer.CreationTimestamp.After(older.CreationTimestamp.Time) {
			return fmt.Errorf("it is still %s", newer.CreationTimestamp)
		}
		return nil
	})
	newer := c.apply(c.newPolicy("newer", "www.example.com", "api.example.com")).(*v1alpha1.APIKeyPolicy)
	c.policyBecomes(newer, v1alpha1.ConditionHostsClaimed, v1alpha1.ReasonHostConflict)
	message := meta.FindStatusCondition(newer.Status.Conditions, v1alpha1.ConditionHostsClaimed).Message
	if !strings.Contains(message, "api.example.com is decided by the policy "+systemNamespace+"/older") || strings.Contains(message, "www") {
		t.Errorf("message: %s", message)
	}
	c.hasEvents(newer, eventHostConflict)

	tenants := c.newPolicy("greedy", "api.example.com")
	tenants.Namespace = c.namespace
	c.apply(tenants)
	c.policyBecomes(tenants, v1alpha1.ConditionHostsClaimed, v1alpha1.ReasonNamespaceNotAllowed)
	if c.acceptedForm(tenants).ClaimsHosts {
		t.Error("a tenant's policy claims hosts")
	}
	c.policyBecomes(older, v1alpha1.ConditionHostsClaimed, v1alpha1.ReasonClaimed)

	must(t, c.admin.Delete(t.Context(), older))
	c.policyBecomes(newer, v1alpha1.ConditionHostsClaimed, v1alpha1.ReasonClaimed)
}

// Which namespaces may claim hosts is re-decided at every start, for a policy whose
// newest spec is bad too.
func TestPolicyNamespaces(t *testing.T) {
	c := newCluster(t)
	greedy := c.newPolicy("greedy", "api.example.com")
	greedy.Namespace = c.namespace
	c.apply(greedy)
	for _, step := range []struct {
		namespaces []string
		reason     string
		claims     bool
	}{
		{[]string{AllNamespaces}, v1alpha1.ReasonClaimed, true},
		{nil, v1alpha1.ReasonNamespaceNotAllowed, false},
		{[]string{"elsewhere", c.namespace}, v1alpha1.ReasonClaimed, true},
	} {
		stop := c.start(func(o *Options) { o.PolicyNamespaces = step.namespaces })
		c.policyBecomes(greedy, v1alpha1.ConditionHostsClaimed, step.reason)
		if got := c.acceptedForm(greedy).ClaimsHosts; got != step.claims {
			t.Errorf("claims hosts with %v: %t", step.namespaces, got)
		}
		stop()
		c.patch(greedy, twice)
	}
}

// A policy that was deleted while no controller ran takes its accepted form along.
func TestPolicyDeletedMeanwhile(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	key := c.issued("left")
	stop()
	must(t, c.admin.Delete(t.Context(), c.policy))
	c.start()
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonPolicyNotFound)
	if c.acceptedSecret(c.policy) != nil {
		t.Error("the accepted form is still there")
	}
}
