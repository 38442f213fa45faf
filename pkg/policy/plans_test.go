package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/pkg/policy"
)

// threePlans has an environment with a plan of its own, one without, and a default.
const threePlans = `
environments: [{name: live, prefix: l_}, {name: test, prefix: t_, plan: sandbox}]
defaultPlan: basic
plans:
- {name: sandbox, limits: [{requests: 100, per: 1h}]}
- {name: basic, limits: [{requests: 1000, per: 1h}, {requests: 10, per: 1s}]}
- {name: business, includes: [basic]}
`

func TestPlan(t *testing.T) {
	const noDefault = "environments: [{name: live, prefix: l_}]\nplans: [{name: basic}]\n"
	type plan struct {
		name string
		ok   bool
	}
	for name, c := range map[string]struct {
		spec, environment, asked string
		want                     plan
	}{
		"none asked: the default":                    {threePlans, "live", "", plan{"basic", true}},
		"one asked":                                  {threePlans, "live", "business", plan{"business", true}},
		"the default asked":                          {threePlans, "live", "basic", plan{"basic", true}},
		"an undeclared one asked":                    {threePlans, "live", "gold", plan{"gold", false}},
		"a plan in another case":                     {threePlans, "live", "Basic", plan{"Basic", false}},
		"the environment's, none asked":              {threePlans, "test", "", plan{"sandbox", true}},
		"the environment's, the same asked":          {threePlans, "test", "sandbox", plan{"sandbox", true}},
		"the environment's, another asked":           {threePlans, "test", "business", plan{"sandbox", false}},
		"the environment's, an undeclared one asked": {threePlans, "test", "gold", plan{"sandbox", false}},
		"an undeclared environment":                  {threePlans, "prod", "", plan{"basic", true}},
		"no default, none asked":                     {noDefault, "live", "", plan{"", true}},
		"no default, one asked":                      {noDefault, "live", "basic", plan{"basic", true}},
		"no plans, none asked":                       {"", "live", "", plan{"", true}},
		"no plans, one asked":                        {"", "live", "basic", plan{"basic", false}},
	} {
		t.Run(name, func(t *testing.T) {
			var got plan
			got.name, got.ok = compile(t, c.spec).Plan(c.environment, c.asked)
			if got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	p := compile(t, threePlans)
	for plan, want := range map[string][]policy.Limit{
		"sandbox":  {{Requests: 100, Per: time.Hour}},
		"basic":    {{Requests: 10, Per: time.Second}, {Requests: 1000, Per: time.Hour}}, // the shortest first
		"business": nil,                                                                  // limits are not inherited
		"gold":     nil,
		"":         nil,
	} {
		if diff := cmp.Diff(want, p.Limits(plan)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", plan, diff)
		}
	}
}

func TestPermitsPlan(t *testing.T) {
	p := compile(t, `
plans:
- {name: free}
- {name: team, includes: [free]}
- {name: business, includes: [team, extra]}
- {name: extra}
- {name: a, includes: [b]}
- {name: b, includes: [a]}
rules:
- {paths: [/any], anyKey: true}
- {paths: [/free], anyKey: true, plan: free}
- {paths: [/team], anyKey: true, plan: team}
- {paths: [/business], anyKey: true, plan: business}
- {paths: [/extra], anyKey: true, plan: extra}
- {paths: [/a], anyKey: true, plan: a}
`)
	for plan, want := range map[string]string{
		"":         "/any",
		"gold":     "/any",
		"Free":     "/any",
		"free":     "/any /free",
		"team":     "/any /free /team",
		"business": "/any /free /team /business /extra",
		"extra":    "/any /extra",
		"b":        "/any /a",
	} {
		var got []string
		for _, path := range []string{"/any", "/free", "/team", "/business", "/extra", "/a"} {
			if p.Match("GET", path).PermitsPlan(p, plan) {
				got = append(got, path)
			}
		}
		if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%q (-want +got):\n%s", plan, diff)
		}
	}
}

func TestCost(t *testing.T) {
	for cost, want := range map[string]int64{"": 1, ", cost: 1": 1, ", cost: 0": 0, ", cost: 7": 7, ", cost: 1000000": 1e6} {
		if got := compile(t, "rules: [{paths: [/], anyKey: true"+cost+"}]").Match("GET", "/").Cost(); got != want {
			t.Errorf("%q: %d, want %d", cost, got, want)
		}
	}
}

func TestChoices(t *testing.T) {
	type choices struct{ tls, preflight, failOpen bool }
	for spec, want := range map[string]choices{
		"":                         {},
		"requireTLS: false":        {},
		"requireTLS: true":         {tls: true},
		"preflight: Deny":          {},
		"preflight: Allow":         {preflight: true},
		"limitFailure: FailClosed": {},
		"limitFailure: FailOpen":   {failOpen: true},
	} {
		p := compile(t, spec)
		if got := (choices{p.RequireTLS(), p.AllowPreflight(), p.FailOpen()}); got != want {
			t.Errorf("%q: %+v, want %+v", spec, got, want)
		}
	}
}

func TestCompileRefusesPlans(t *testing.T) {
	long := strings.Repeat("a", 33)
	refuse(t, map[string]refused{
		"a plan twice":                      {`plans: [{name: a}, {name: a}]`, `spec.plans[1].name: the plan "a" is declared twice`},
		"a plan in upper case":              {`plans: [{name: A}]`, `spec.plans[0].name: "A"`},
		"a plan without a name":             {`plans: [{name: ""}]`, `spec.plans[0].name: ""`},
		"a plan whose name is too long":     {`plans: [{name: ` + long + `}]`, `spec.plans[0].name`},
		"too many plans":                    {`plans: ` + many(33, "{name: p%d}"), `spec.plans: there are 33 entries, and 32`},
		"an included plan that isn't there": {`plans: [{name: a}, {name: b, includes: [a, c]}]`, `spec.plans[1].includes[1]: the plan "c" is not declared: add it to spec.plans`},
		"an included plan twice":            {`plans: [{name: a, includes: [a, a]}]`, `spec.plans[0].includes[1]: "a" is there twice`},
		"an empty list of included plans":   {`plans: [{name: a, includes: []}]`, `spec.plans[0].includes: the list is empty`},
		"a default plan that isn't there":   {`{plans: [{name: a}], defaultPlan: b}`, `spec.defaultPlan: the plan "b" is not declared`},
		"an environment's plan that isn't there": {
			`environments: [{name: live, prefix: l_}, {name: test, prefix: t_, plan: sandbox}]`, `spec.environments[1].plan: the plan "sandbox" is not declared`,
		},
		"a rule's plan that isn't there":    {`rules: [{paths: [/], anyKey: true, plan: a}]`, `spec.rules[0].plan: the plan "a" is not declared`},
		"an anonymous rule with a plan":     {`{plans: [{name: a}], rules: [{paths: [/], anonymous: true, plan: a}]}`, `spec.rules[0].plan: an anonymous rule has no key`},
		"a granted plan that isn't there":   {`{plans: [{name: a}], grants: [{plans: [a, b]}]}`, `spec.grants[0].plans[1]: the plan "b" is not declared`},
		"a granted plan twice":              {`{plans: [{name: a}], grants: [{plans: [a, a]}]}`, `spec.grants[0].plans[1]: "a" is there twice`},
		"an empty list of granted plans":    {`grants: [{plans: []}]`, `spec.grants[0].plans: the list is empty`},
		"an empty list of limits":           {`plans: [{name: a, limits: []}]`, `spec.plans[0].limits: the list is empty`},
		"too many limits":                   {`plans: [{name: a, limits: ` + many(5, "{requests: 1, per: 1%ds}") + `}]`, `spec.plans[0].limits: there are 5 entries, and 4`},
		"a limit of no requests":            {`plans: [{name: a, limits: [{requests: 0, per: 1s}]}]`, `spec.plans[0].limits[0].requests: 0 is not possible`},
		"a limit of too many requests":      {`plans: [{name: a, limits: [{requests: 1000000001, per: 1s}]}]`, `spec.plans[0].limits[0].requests: 1000000001`},
		"a limit without a time":            {`plans: [{name: a, limits: [{requests: 1}]}]`, `spec.plans[0].limits[0].per: 0s is not possible`},
		"a limit per less than a second":    {`plans: [{name: a, limits: [{requests: 1, per: 999ms}]}]`, `spec.plans[0].limits[0].per: 999ms`},
		"a limit per fractions of a second": {`plans: [{name: a, limits: [{requests: 1, per: 1500ms}]}]`, `spec.plans[0].limits[0].per: 1.5s`},
		"a limit per a time below zero":     {`plans: [{name: a, limits: [{requests: 1, per: -1h}]}]`, `spec.plans[0].limits[0].per: -1h0m0s`},
		"a limit per more than 366 days":    {`plans: [{name: a, limits: [{requests: 1, per: 8784h1s}]}]`, `spec.plans[0].limits[0].per: 8784h0m1s`},
		"limits per equal times":            {`plans: [{name: a, limits: [{requests: 9, per: 60s}, {requests: 1, per: 1h}, {requests: 8, per: 1m}]}]`, `spec.plans[0].limits[2].per: spec.plans[0].limits[0].per is the same time`},
		"a cost below zero":                 {`rules: [{paths: [/], anyKey: true, cost: -1}]`, `spec.rules[0].cost: -1 is not possible`},
		"a cost that is too high":           {`rules: [{paths: [/], anyKey: true, cost: 1000001}]`, `spec.rules[0].cost: 1000001 is not possible`},
		"a cost above a limit": {
			`{plans: [{name: a}, {name: b, limits: [{requests: 10, per: 1h}, {requests: 4, per: 1s}]}], rules: [{paths: [/], anyKey: true, cost: 5}]}`,
			`spec.rules[0].cost: a request that costs 5 is never let in by the plan "b", which allows 4 per 1s`,
		},
		"a cost above a limit of a plan that includes the rule's": {
			`{plans: [{name: a}, {name: b, includes: [a], limits: [{requests: 4, per: 1s}]}], rules: [{paths: [/], anyKey: true, cost: 5, plan: a}]}`,
			`spec.rules[0].cost: a request that costs 5 is never let in by the plan "b"`,
		},
		"an unknown preflight":     {`preflight: allow`, `spec.preflight: "allow" is not possible: write Deny or Allow`},
		"an unknown limit failure": {`limitFailure: Open`, `spec.limitFailure: "Open" is not possible: write FailClosed or FailOpen`},
	})
}

// The other side of each bound.
func TestCompileAcceptsPlans(t *testing.T) {
	for name, spec := range map[string]string{
		"the most plans":                         `plans: ` + many(32, "{name: p%d}"),
		"the longest name":                       `plans: [{name: ` + strings.Repeat("a", 32) + `}]`,
		"plans that include each other":          `plans: [{name: a, includes: [b]}, {name: b, includes: [a]}]`,
		"the most limits":                        `plans: [{name: a, limits: ` + many(4, "{requests: 1, per: 1%ds}") + `}]`,
		"the largest limit":                      `plans: [{name: a, limits: [{requests: 1000000000, per: 8784h}]}]`,
		"the smallest limit":                     `plans: [{name: a, limits: [{requests: 1, per: 1s}]}]`,
		"a cost of the whole limit":              `{plans: [{name: a, limits: [{requests: 5, per: 1s}]}], rules: [{paths: [/], anyKey: true, cost: 5}]}`,
		"a cost above an unrelated plan's limit": `{plans: [{name: a, limits: [{requests: 4, per: 1s}]}, {name: b}], rules: [{paths: [/], anyKey: true, cost: 5, plan: b}]}`,
		"a cost of an anonymous rule":            `{plans: [{name: a, limits: [{requests: 4, per: 1s}]}], rules: [{paths: [/], anonymous: true, cost: 5}]}`,
		"a grant of plans":                       `{plans: [{name: a}], grants: [{plans: [a]}]}`,
	} {
		t.Run(name, func(t *testing.T) { compile(t, spec) })
	}
}

// A chain of the most plans, declared in the order that takes the most rounds to close.
func TestPermitsPlanOfALongChain(t *testing.T) {
	spec := "{name: p0}"
	for i := 1; i < 32; i++ {
		spec = fmt.Sprintf("{name: p%d, includes: [p%d]}, ", i, i-1) + spec
	}
	p := compile(t, "plans: ["+spec+"]\nrules: [{paths: [/], anyKey: true, plan: p0}, {paths: [/last], anyKey: true, plan: p31}]")
	if !p.Match("GET", "/").PermitsPlan(p, "p31") {
		t.Error("the last plan does not include the first")
	}
	if p.Match("GET", "/last").PermitsPlan(p, "p30") {
		t.Error("a lesser plan includes a greater one")
	}
}

// A cost that many limits have no room for is one problem.
func TestCostAboveManyLimitsIsOneProblem(t *testing.T) {
	_, err := policy.Compile(source(t, `{plans: `+many(32, "{name: p%d, limits: [{requests: 1, per: 1s}]}")+`, rules: [{paths: [/], anyKey: true, cost: 5}]}`))
	if err == nil || strings.Count(err.Error(), "\n") != 0 {
		t.Errorf("not one problem: %v", err)
	}
}
