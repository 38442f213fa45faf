package reconcile

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
)

// plannedPolicy has the plans sandbox, which keys of the environment test have and no
// other, business and gold; the scopes read and write; and these grants.
func plannedPolicy(t *testing.T, defaultPlan v1alpha1.PlanName, grants ...v1alpha1.Grant) *policy.Policy {
	t.Helper()
	for i := range grants {
		grants[i].Namespaces.From = v1alpha1.NamespacesAll
	}
	compiled, err := policy.Compile(&policy.Source{
		Namespace: "platform", Name: "api", UID: "policy-uid",
		Spec: v1alpha1.APIKeyPolicySpec{
			Environments: []v1alpha1.Environment{{Name: "live", Prefix: "sk_"}, {Name: "test", Prefix: "tk_", Plan: "sandbox"}},
			Scopes:       []v1alpha1.Scope{{Name: "read"}, {Name: "write"}},
			Plans:        []v1alpha1.Plan{{Name: "sandbox"}, {Name: "business"}, {Name: "gold"}},
			DefaultPlan:  defaultPlan,
			Grants:       grants,
			Rules:        []v1alpha1.Rule{{Paths: []v1alpha1.PathPattern{"/{rest...}"}, AnyKey: true}},
		},
	})
	must(t, err)
	return compiled
}

func TestDecidePlan(t *testing.T) {
	all := v1alpha1.Grant{}
	of := func(plans ...v1alpha1.PlanName) v1alpha1.Grant { return v1alpha1.Grant{Plans: plans} }
	type want struct {
		// mint a token where none was issued.
		mint   bool
		reason string
		// says is a part of the Ready condition's message.
		says string
		// state, plan and scopes of a record that was issued before.
		state  apikey.State
		plan   string
		scopes []string
	}
	granted := func(plan string) want { return want{true, "Active", "", "Active", plan, []string{"read"}} }
	refused := func(says string) want { return want{false, "PlanNotGranted", says, "NotGranted", "", nil} }
	for name, test := range map[string]struct {
		defaultPlan, asked v1alpha1.PlanName
		environment        string
		grants             []v1alpha1.Grant
		want               want
	}{
		"none asked, no default":               {"", "", "live", []v1alpha1.Grant{all}, granted("")},
		"none asked: the default":              {"sandbox", "", "live", []v1alpha1.Grant{all}, granted("sandbox")},
		"one asked":                            {"sandbox", "business", "live", []v1alpha1.Grant{all}, granted("business")},
		"the environment's":                    {"business", "", "test", []v1alpha1.Grant{all}, granted("sandbox")},
		"the environment's, asked":             {"", "sandbox", "test", []v1alpha1.Grant{of("sandbox")}, granted("sandbox")},
		"another than the environment's":       {"", "business", "test", []v1alpha1.Grant{all}, refused(`have the plan "sandbox" and no other: take spec.plan out`)},
		"an undeclared one":                    {"", "silver", "live", []v1alpha1.Grant{all}, refused(`grants the namespace tenant no keys of the plan "silver" in the environment "live": choose another spec.plan`)},
		"one that is not granted":              {"", "gold", "live", []v1alpha1.Grant{of("sandbox", "business")}, refused(`grants the namespace tenant no keys of the plan "gold" in the environment "live": choose another spec.plan`)},
		"a default that is not granted":        {"sandbox", "", "live", []v1alpha1.Grant{of("business")}, refused(`no keys of the plan "sandbox", which those of the environment "live" have that ask for no other`)},
		"an environment's that is not granted": {"", "", "test", []v1alpha1.Grant{of("business")}, refused(`no keys of the plan "sandbox", which those of the environment "test" have`)},
		"none, where one is needed":            {"", "", "live", []v1alpha1.Grant{of("business")}, refused(`no keys without a plan in the environment "live": choose one in spec.plan`)},
		"scopes of another plan": {"", "business", "live", []v1alpha1.Grant{of("business"), {Plans: []v1alpha1.PlanName{"gold"}, Scopes: []v1alpha1.ScopeName{"write"}}},
			granted("business")},
		"scopes of the plan are not granted": {"", "business", "live", []v1alpha1.Grant{{Plans: []v1alpha1.PlanName{"business"}, Scopes: []v1alpha1.ScopeName{"write"}}},
			want{false, "ScopesNotGranted", "not granted: read", "Active", "business", nil}},
		"the environment comes first": {"", "gold", "live", []v1alpha1.Grant{{Environments: []v1alpha1.EnvironmentName{"test"}}},
			want{false, "EnvironmentNotGranted", "", "NotGranted", "", nil}},
	} {
		t.Run(name, func(t *testing.T) {
			key := aKey(func(s *v1alpha1.APIKeySpec) { s.Environment, s.Plan = test.environment, test.asked })
			compiled := plannedPolicy(t, test.defaultPlan, test.grants...)
			first := decide(&facts{key: key, policy: compiled, declared: true, now: noon})
			record := aRecord(1, func(r *apikey.Record) { r.Environment, r.Plan = test.environment, "old" })
			later := decide(&facts{key: key, policy: compiled, declared: true, now: noon, ledger: naming(1), records: []*apikey.Record{record}})
			got := want{first.mint, later.ready.Reason, test.want.says, later.elected.State, later.elected.Plan, later.elected.Scopes}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !test.want.mint && (first.ready.Reason != test.want.reason || first.delivered.Reason != v1alpha1.ReasonNothingIssued) {
				t.Errorf("before it was issued: %s, %s", first.ready.Reason, first.delivered.Reason)
			}
			for _, said := range []string{first.ready.Message, later.ready.Message} {
				if test.want.says != "" && !strings.Contains(said, test.want.says) {
					t.Errorf("the message does not say %q: %s", test.want.says, said)
				}
			}
		})
	}
}

// A plan that is not declared and one that is not granted read alike, so that names
// can't be probed.
func TestUndeclaredPlansReadLikeThoseNotGranted(t *testing.T) {
	compiled := plannedPolicy(t, "", v1alpha1.Grant{Plans: []v1alpha1.PlanName{"sandbox"}})
	message := func(plan v1alpha1.PlanName) string {
		key := aKey(func(s *v1alpha1.APIKeySpec) { s.Plan = plan })
		return strings.ReplaceAll(decide(&facts{key: key, policy: compiled, now: noon}).ready.Message, string(plan), "…")
	}
	if diff := cmp.Diff(message("gold"), message("silver")); diff != "" {
		t.Errorf("(-not granted +not declared):\n%s", diff)
	}
}

// The plan of a key follows its spec, the policy's plans and its grants, and a first
// token waits for it.
func TestPlanLifecycle(t *testing.T) {
	c := newCluster(t)
	c.start()
	c.patch(c.policy, `{"spec":{"plans":[{"name":"sandbox","limits":[{"requests":100,"per":"1h"}]},{"name":"business"}],"defaultPlan":"sandbox",
		"grants":[{"namespaces":{"from":"All"},"plans":["sandbox"]}]}}`)
	c.policyAccepted()
	key := c.apply(c.newKey("planned", func(s *v1alpha1.APIKeySpec) { s.Plan = "business" })).(*v1alpha1.APIKey)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonPlanNotGranted)
	if n := len(c.records(string(key.UID))); n != 0 {
		t.Fatalf("%d records before the plan was granted", n)
	}

	c.patch(c.policy, `{"spec":{"grants":[{"namespaces":{"from":"All"},"plans":["sandbox","business"]}]}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	c.hasPlan(key, "business", apikey.Active)

	c.patch(c.policy, `{"spec":{"grants":[{"namespaces":{"from":"All"},"plans":["sandbox"]}]}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonPlanNotGranted)
	c.hasPlan(key, "", apikey.NotGranted)
	if ready := meta.FindStatusCondition(key.Status.Conditions, v1alpha1.ConditionReady); !strings.Contains(ready.Message, `"business"`) {
		t.Errorf("message: %s", ready.Message)
	}

	c.patch(key, `{"spec":{"plan":null}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	c.hasPlan(key, "sandbox", apikey.Active)

	c.patch(c.policy, `{"spec":{"defaultPlan":null,"grants":[{"namespaces":{"from":"All"}}]}}`)
	c.hasPlan(key, "", apikey.Active)
	must(t, c.oneLiveToken(key))
}

// An environment's plan is that of all its keys: one that asks for another gets no
// token until it no longer does.
func TestPlanOfAnEnvironment(t *testing.T) {
	c := newCluster(t)
	c.start()
	c.patch(c.policy, `{"spec":{"plans":[{"name":"sandbox"},{"name":"business"}],"defaultPlan":"business",
		"environments":[{"name":"live","prefix":"sk_"},{"name":"test","prefix":"tk_"},{"name":"play","prefix":"pk_","plan":"sandbox"}]}}`)
	c.policyAccepted()
	key := c.apply(c.newKey("player", func(s *v1alpha1.APIKeySpec) { s.Environment, s.Plan = "play", "business" })).(*v1alpha1.APIKey)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonPlanNotGranted)
	if n := len(c.records(string(key.UID))); n != 0 {
		t.Fatalf("%d records before the plan was granted", n)
	}
	c.patch(key, `{"spec":{"plan":null}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	c.hasPlan(key, "sandbox", apikey.Active)
	c.patch(key, `{"spec":{"plan":"sandbox"}}`)
	c.hasPlan(key, "sandbox", apikey.Active)
	must(t, c.oneLiveToken(key))
}

// policyAccepted waits until the fixture policy's newest spec is in force.
func (c *cluster) policyAccepted() {
	c.Helper()
	c.eventually(func() error {
		must(c.TB, c.get(c.policy))
		if c.policy.Status.ObservedGeneration != c.policy.Generation {
			return errors.New("the policy's newest spec was not judged yet")
		}
		return hasReason(c.policy.Status.Conditions, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted)
	})
}

// hasPlan waits until an APIKey's one record has a plan, and the status of its newest
// spec.
func (c *cluster) hasPlan(key *v1alpha1.APIKey, plan string, state apikey.State) {
	c.Helper()
	c.eventually(func() error {
		must(c.TB, c.get(key))
		if string(key.Status.Plan) != plan || key.Status.ObservedGeneration != key.Generation {
			return fmt.Errorf("the status of generation %d has the plan %q, want %d with %q", key.Status.ObservedGeneration, key.Status.Plan, key.Generation, plan)
		}
		return nil
	})
	c.recordBecomes(key, func(r *apikey.Record) bool { return r.Plan == plan && r.State == state })
}
