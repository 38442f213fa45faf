package policy_test

import (
	"testing"
	"time"

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

func TestGrantedLives(t *testing.T) {
	const declared = `
environments: [{name: live, prefix: l_}, {name: test, prefix: t_}]
scopes: [{name: read}, {name: write}]
plans: [{name: free}, {name: team}]
`
	const day = 24 * time.Hour
	lives := func(d time.Duration) *time.Duration { return &d }
	all := policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"read", "write"}}
	read := policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"read"}, Missing: []string{"write"}}
	refused := func(longest time.Duration) policy.GrantResult {
		return policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LongestLife: longest, Missing: []string{"read", "write"}}
	}
	noPlan := policy.GrantResult{Known: true, EnvironmentGranted: true, Missing: []string{"read", "write"}}
	for name, c := range map[string]struct {
		grants string
		life   *time.Duration
		want   policy.GrantResult
	}{
		"no grants: any life":                     {"", nil, all},
		"an empty grant: any life":                {"grants: [{}]", nil, all},
		"as long as is granted":                   {"grants: [{maxTTL: 24h}]", lives(day), all},
		"a moment longer":                         {"grants: [{maxTTL: 24h}]", lives(day + 1), refused(day)},
		"without an end":                          {"grants: [{maxTTL: 24h}]", nil, refused(day)},
		"ended before it began":                   {"grants: [{maxTTL: 24h}]", lives(-day), all},
		"any end":                                 {"grants: [{requireExpiry: true}]", lives(1 << 62), all},
		"no end where there must be one":          {"grants: [{requireExpiry: true}]", nil, refused(0)},
		"maxTTL implies an end":                   {"grants: [{maxTTL: 24h, requireExpiry: false}]", nil, refused(day)},
		"both":                                    {"grants: [{maxTTL: 24h, requireExpiry: true}]", lives(2 * day), refused(day)},
		"the longest of several is named":         {"grants: [{maxTTL: 24h}, {maxTTL: 48h}, {maxTTL: 1h}]", lives(3 * day), refused(2 * day)},
		"any end is longer than all":              {"grants: [{maxTTL: 24h}, {requireExpiry: true}]", nil, refused(0)},
		"one of several is long enough":           {"grants: [{maxTTL: 1h}, {maxTTL: 48h, scopes: [read]}]", lives(day), read},
		"those that are too short do not add up":  {"grants: [{scopes: [read]}, {maxTTL: 1h, scopes: [write]}]", lives(day), read},
		"those that are long enough add up":       {"grants: [{scopes: [read]}, {maxTTL: 24h, scopes: [write]}]", lives(day), all},
		"a life in another environment":           {"grants: [{maxTTL: 1h}, {environments: [test], maxTTL: 48h}]", lives(day), refused(time.Hour)},
		"a life of another plan":                  {"grants: [{maxTTL: 1h}, {plans: [team], maxTTL: 48h}]", lives(day), refused(time.Hour)},
		"a life of another plan alone is no life": {"grants: [{plans: [team], maxTTL: 48h}]", lives(3 * day), noPlan},
		"a life of others":                        {"grants: [{maxTTL: 1h}, {namespaces: {from: Selector, selector: {matchLabels: {a: b}}}}]", lives(day), refused(time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			ask := policy.GrantRequest{Environment: "live", Plan: "free", Scopes: []string{"write", "read"}, Life: c.life}
			got := compile(t, declared+c.grants).Granted(policy.GrantNamespace{Name: "platform"}, ask)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
