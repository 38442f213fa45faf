package policy

import (
	"slices"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"keygate.dev/keygate/api/v1alpha1"
)

// Bounds of rules, as in the schema of the API.
const (
	maxRules      = 128
	maxPaths      = 16
	maxMethods    = 16
	maxRuleScopes = 16
	maxMessage    = 512
	maxCost       = 1_000_000
)

// ruleCompiler makes rules and their routes.
type ruleCompiler struct {
	spec    *v1alpha1.APIKeyPolicySpec
	scopes  *scopes
	plans   *plans
	denials *denials
	found   *problems

	// routes is the tree of the paths so far.
	routes *node
	// taken maps route → the place of the path that has it.
	taken map[route]place
}

// route is one path and method; "": the rule that names no method.
type route struct {
	path   *endpoint
	method string
}

// place is a path in the spec.
type place struct{ rule, path int }

// at is the field of a place.
func (p place) at() *field.Path {
	return field.NewPath("spec", "rules").Index(p.rule).Child("paths").Index(p.path)
}

// compile makes all rules, and returns the tree of their paths.
func (c *ruleCompiler) compile() *node {
	c.routes, c.taken = &node{}, map[route]place{}
	at := field.NewPath("spec", "rules")
	if len(c.spec.Rules) == 0 {
		c.found.add(at, "there is no rule: add one, because what no rule matches is denied")
	}
	if !checkSize(c.found, at, c.spec.Rules, maxRules) {
		return nil
	}
	common := c.base(field.NewPath("spec", "basePath"), c.spec.BasePath, nil)
	for i := range c.spec.Rules {
		r := &c.spec.Rules[i]
		base := c.base(at.Index(i).Child("basePath"), r.BasePath, common)
		rule := c.rule(at.Index(i), r)
		rule.Index = i
		c.route(i, base, r, rule)
	}
	return c.routes
}

// base reads a base path; other takes its place where it is absent.
func (c *ruleCompiler) base(at *field.Path, base v1alpha1.BasePath, other []segment) []segment {
	if base == "" || !basePathShape.check(c.found, at, string(base)) {
		return other
	}
	segments, err := parseBase(string(base))
	if err != nil {
		c.found.add(at, "no request with %q is let in: %v: write it as callers must", base, err)
	}
	return segments
}

// rule makes one rule, without its routes.
func (c *ruleCompiler) rule(at *field.Path, r *v1alpha1.Rule) *Rule {
	checkNames(c.found, at.Child("scopes"), r.Scopes, maxRuleScopes)
	checkNames(c.found, at.Child("anyScope"), r.AnyScope, maxRuleScopes)
	if n := utf8.RuneCountInString(r.Message); n > maxMessage {
		c.found.add(at.Child("message"), "it has %d characters, and %d at the most are possible: shorten it", n, maxMessage)
	}
	demands := 0
	for _, there := range []bool{r.Scopes != nil, r.AnyScope != nil, r.AnyKey, r.Anonymous} {
		if there {
			demands++
		}
	}
	if demands != 1 {
		c.found.add(at, "it has %d of scopes, anyScope, anyKey and anonymous: give exactly one", demands)
	}
	rule := &Rule{Anonymous: r.Anonymous, AnyKey: r.AnyKey, one: r.AnyScope != nil}
	rule.needs = c.scopes.declared(c.found, at.Child("scopes"), texts(r.Scopes)) |
		c.scopes.declared(c.found, at.Child("anyScope"), texts(r.AnyScope))
	if rule.needs != 0 {
		rule.scopeDenial = c.denials.insufficientScope(r.Message, append(texts(r.Scopes), texts(r.AnyScope)...))
	}
	c.plan(at.Child("plan"), r, rule)
	c.cost(at.Child("cost"), r, rule)
	return rule
}

// plan reads which plan a rule asks for.
func (c *ruleCompiler) plan(at *field.Path, r *v1alpha1.Rule, rule *Rule) {
	if r.Plan == "" {
		return
	}
	if r.Anonymous {
		c.found.add(at, "an anonymous rule has no key that could have a plan: take one of the two out")
	}
	rule.plan = c.plans.one(c.found, at, string(r.Plan))
	rule.planDenial = c.denials.planRequired(r.Message, string(r.Plan))
}

// cost reads what a request costs. More than a window has room for is refused: such a
// request would be put off for ever.
func (c *ruleCompiler) cost(at *field.Path, r *v1alpha1.Rule, rule *Rule) {
	rule.cost = 1
	if r.Cost != nil {
		rule.cost = int64(*r.Cost)
	}
	if rule.cost < 0 || rule.cost > maxCost {
		c.found.add(at, "%d is not possible: choose 0 to %d", rule.cost, maxCost)
		return
	}
	for _, plan := range c.plans.names {
		for _, limit := range c.plans.limits[plan] {
			if !rule.Anonymous && rule.permitsAnyOf(c.plans.closed[plan]) && rule.cost > limit.Requests {
				c.found.add(at, "a request that costs %d is never let in by the plan %q, which allows %d per %s: lower the cost, or raise the limit", rule.cost, plan, limit.Requests, limit.Per)
				return
			}
		}
	}
}

// route lets rule decide the paths and methods of r, the rule number index, below base.
func (c *ruleCompiler) route(index int, base []segment, r *v1alpha1.Rule, rule *Rule) {
	at := field.NewPath("spec", "rules").Index(index)
	if len(r.Paths) == 0 {
		c.found.add(at.Child("paths"), "there is no path: add one, as \"/users\"")
	}
	checkNames(c.found, at.Child("methods"), r.Methods, maxMethods)
	for i, m := range r.Methods {
		methodShape.check(c.found, at.Child("methods").Index(i), string(m))
	}
	if !checkSize(c.found, at.Child("paths"), r.Paths, maxPaths) {
		return
	}
	for i, path := range r.Paths {
		here := place{index, i}
		if !pathShape.check(c.found, here.at(), string(path)) {
			continue
		}
		segments, err := parsePattern(string(path))
		if err != nil {
			c.found.add(here.at(), "no request with %q is let in: %v: write it as callers must", path, err)
			continue
		}
		c.assign(here, c.routes.add(slices.Concat(base, segments)), texts(r.Methods), rule)
	}
}

// assign lets rule decide the methods of one path.
func (c *ruleCompiler) assign(here place, path *endpoint, methods []string, rule *Rule) {
	if len(methods) == 0 {
		path.other = rule
		c.take(here, route{path: path})
	}
	for _, method := range methods {
		if path.methods == nil {
			path.methods = make(map[string]*Rule, len(methods))
		}
		path.methods[method] = rule
		c.take(here, route{path, method})
	}
}

// take notes a route that another path has already.
func (c *ruleCompiler) take(here place, r route) {
	first, ok := c.taken[r]
	if !ok {
		c.taken[r] = here
		return
	}
	if r.method == "" {
		c.found.add(here.at(), "%s is the same path, and neither names a method: keep one of the two", first.at())
		return
	}
	c.found.add(here.at(), "%s is the same path and has %s too: keep one of the two", first.at(), r.method)
}
