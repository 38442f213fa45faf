package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/pkg/policy"
)

func TestGranted(t *testing.T) {
	const declared = `
environments: [{name: live, prefix: l_}, {name: test, prefix: t_}]
scopes: [{name: write, includes: [read]}, {name: read}, {name: admin, includes: [write]}, {name: other}]
`
	all := []string{"write", "read", "admin", "other"}
	type asked struct {
		namespace   string
		labels      map[string]string
		environment string
		scopes      []string
	}
	none := policy.GrantResult{}
	for name, c := range map[string]struct {
		grants string
		asked
		want policy.GrantResult
	}{
		"no grants: the policy's own namespace has everything": {
			"", asked{"platform", nil, "live", all}, policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: all},
		},
		"no grants: others have nothing": {
			"", asked{"acme", nil, "live", []string{"read"}}, policy.GrantResult{Missing: []string{"read"}},
		},
		"no grants: an environment that isn't there": {
			"", asked{"platform", nil, "prod", nil}, policy.GrantResult{Known: true},
		},
		"no grants: a scope that isn't there": {
			"", asked{"platform", nil, "live", []string{"root", "read"}}, policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"read"}, Missing: []string{"root"}},
		},
		"an empty grant is that": {
			"grants: [{}]", asked{"platform", nil, "test", all}, policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: all},
		},
		"an empty grant is for nobody else": {"grants: [{}]", asked{"acme", nil, "test", nil}, none},
		"grants leave the policy's own namespace out": {
			"grants: [{namespaces: {from: Selector, selector: {matchLabels: {a: b}}}}]", asked{"platform", nil, "live", nil}, none,
		},
		"Same": {
			"grants: [{namespaces: {from: Same}}]", asked{"platform", nil, "live", nil}, policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true},
		},
		"Same is for nobody else": {"grants: [{namespaces: {from: Same}}]", asked{"platform2", nil, "live", nil}, none},
		"All": {
			"grants: [{namespaces: {from: All}}]", asked{"anybody", nil, "live", []string{"read"}}, policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"read"}},
		},
		"a selector that matches": {
			"grants: [{namespaces: {from: Selector, selector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: Exists}]}}}]",
			asked{"acme", map[string]string{"a": "b", "c": ""}, "live", nil}, policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true},
		},
		"a selector that matches in part": {
			"grants: [{namespaces: {from: Selector, selector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: Exists}]}}}]",
			asked{"acme", map[string]string{"a": "b"}, "live", nil}, none,
		},
		"an empty selector matches all": {
			"grants: [{namespaces: {from: Selector, selector: {}}}]", asked{"acme", nil, "live", nil}, policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true},
		},
		"scopes come with what they include, directly or not": {
			"grants: [{scopes: [admin]}]", asked{"platform", nil, "live", all},
			policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"write", "read", "admin"}, Missing: []string{"other"}},
		},
		"scopes do not come with what includes them": {
			"grants: [{scopes: [write]}]", asked{"platform", nil, "live", all},
			policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"write", "read"}, Missing: []string{"admin", "other"}},
		},
		"only what is asked for is given": {
			"grants: [{scopes: [admin]}]", asked{"platform", nil, "live", []string{"read"}}, policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"read"}},
		},
		"each once, in order": {
			"grants: [{scopes: [write]}]", asked{"platform", nil, "live", []string{"read", "z", "read", "other", "z", "a", "write"}},
			policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"write", "read"}, Missing: []string{"a", "other", "z"}},
		},
		"the environment that is granted": {
			"grants: [{environments: [test]}]", asked{"platform", nil, "test", []string{"read"}}, policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"read"}},
		},
		"an environment that is not": {
			"grants: [{environments: [test]}]", asked{"platform", nil, "live", []string{"read"}}, policy.GrantResult{Known: true, Missing: []string{"read"}},
		},
		"the default environment is the first": {
			"grants: [{environments: [live]}]", asked{"platform", nil, "", nil}, policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true},
		},
		"the default environment is not the second": {
			"grants: [{environments: [test]}]", asked{"platform", nil, "", nil}, policy.GrantResult{Known: true},
		},
		"grants add up": {
			"grants: [{namespaces: {from: All}, scopes: [read]}, {scopes: [other]}]", asked{"platform", nil, "live", all},
			policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"read", "other"}, Missing: []string{"admin", "write"}},
		},
		"grants for others do not add up": {
			"grants: [{namespaces: {from: All}, scopes: [read]}, {scopes: [other]}]", asked{"acme", nil, "live", all},
			policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"read"}, Missing: []string{"admin", "other", "write"}},
		},
		"grants for other environments do not add up": {
			"grants: [{environments: [live], scopes: [read]}, {environments: [test], scopes: [other]}]", asked{"platform", nil, "test", all},
			policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"other"}, Missing: []string{"admin", "read", "write"}},
		},
		"one of two grants has the environment": {
			"grants: [{environments: [test], scopes: [read]}, {environments: [live], scopes: [other]}]", asked{"platform", nil, "test", nil},
			policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, declared+c.grants)
			got := p.Granted(policy.GrantNamespace{Name: c.namespace, Labels: c.labels}, policy.GrantRequest{Environment: c.environment, Scopes: c.scopes})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestGrantedPlans(t *testing.T) {
	const declared = `
environments: [{name: live, prefix: l_}, {name: test, prefix: t_}]
scopes: [{name: read}, {name: write}]
plans: [{name: free}, {name: team, includes: [free]}]
`
	all := policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"read", "write"}}
	read := policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"read"}, Missing: []string{"write"}}
	noPlan := policy.GrantResult{Known: true, EnvironmentGranted: true, Missing: []string{"read", "write"}}
	noEnvironment := policy.GrantResult{Known: true, Missing: []string{"read", "write"}}
	for name, c := range map[string]struct {
		grants, environment, plan string
		want                      policy.GrantResult
	}{
		"no grants: every plan":                           {"", "live", "team", all},
		"no grants: no plan":                              {"", "live", "", all},
		"no grants: a plan that isn't there":              {"", "live", "gold", noPlan},
		"a grant of every plan":                           {"grants: [{}]", "live", "free", all},
		"a grant of every plan, but one that isn't there": {"grants: [{}]", "live", "gold", noPlan},
		"a granted plan":                                  {"grants: [{plans: [team]}]", "live", "team", all},
		"a plan is not granted by one that includes it":   {"grants: [{plans: [team]}]", "live", "free", noPlan},
		"a plan is not granted by one that it includes":   {"grants: [{plans: [free]}]", "live", "team", noPlan},
		"a grant of plans is for no keys without one":     {"grants: [{plans: [team, free]}]", "live", "", noPlan},
		"one of two grants has the plan":                  {"grants: [{plans: [free]}, {plans: [team]}]", "live", "team", all},
		"grants for other plans do not add up":            {"grants: [{plans: [free], scopes: [write]}, {plans: [team], scopes: [read]}]", "live", "team", read},
		"grants for the same plan add up":                 {"grants: [{plans: [team], scopes: [write]}, {scopes: [read]}]", "live", "team", all},
		"a grant of a plan in another environment":        {"grants: [{environments: [test], plans: [team]}, {environments: [live], plans: [free]}]", "live", "team", noPlan},
		"a plan is nothing without its environment":       {"grants: [{environments: [test]}]", "live", "team", noEnvironment},
		"no plan is nothing without its environment":      {"grants: [{environments: [test]}]", "live", "", noEnvironment},
		"a grant for others does not give the plan":       {"grants: [{plans: [free]}, {namespaces: {from: Selector, selector: {matchLabels: {a: b}}}, plans: [team]}]", "live", "team", noPlan},
	} {
		t.Run(name, func(t *testing.T) {
			got := compile(t, declared+c.grants).Granted(policy.GrantNamespace{Name: "platform"}, policy.GrantRequest{Environment: c.environment, Plan: c.plan, Scopes: []string{"write", "read"}})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
