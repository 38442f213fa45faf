package policy

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"keygate.dev/keygate/api/v1alpha1"
)

// GrantNamespace is a namespace whose APIKeys ask for something.
type GrantNamespace struct {
	// Name of the namespace.
	Name string
	// Labels of the Namespace object.
	Labels map[string]string
}

// GrantRequest is what an APIKey asks for.
type GrantRequest struct {
	// Environment; "": the default one.
	Environment string
	// Plan in force (see [Policy.Plan]); "": none.
	Plan string
	// Scopes by name.
	Scopes []string
	// Life is how long the key lives from the issue of its token on; nil: without an end.
	Life *time.Duration
}

// GrantResult is what a policy grants of what an APIKey asks for.
type GrantResult struct {
	// Known: some grant is for the namespace, whatever it grants. Where none is, the
	// policy is to be denied like one that is not there.
	Known bool
	// EnvironmentGranted: some of these grants is for the environment, and the policy
	// declares it.
	EnvironmentGranted bool
	// PlanGranted: some grant that is for the namespace and the environment is for the
	// plan, too, and the policy declares it. Without a plan, it is one that is for every
	// plan.
	PlanGranted bool
	// LifeGranted: some of the grants for the plan is for keys that live as long.
	LifeGranted bool
	// LongestLife is the longest that a key may live, where LifeGranted is all that is
	// missing; 0: any time, but it must end.
	LongestLife time.Duration
	// Scopes that were asked for and are granted, each once, in the order in which the
	// policy declares them.
	Scopes []string
	// Missing are the scopes that were asked for and are not granted, or not declared,
	// each once, sorted.
	Missing []string
}

// grant is one entry of spec.grants.
type grant struct {
	// namespace that it is for; "": those that selector matches.
	namespace string
	selector  labels.Selector
	// environments that it is for; nil: every one.
	environments []string
	// plans that it is for; nil: every one, and keys without a plan.
	plans []string
	// maxLife of the keys that it is for; 0: any.
	maxLife time.Duration
	// expiring: it is for keys alone that expire.
	expiring bool
	// scopes that it grants, closed over what they include.
	scopes ScopeSet
}

// Granted says what the grants for a namespace give to an APIKey. Several grants add
// up: of those that are for its environment, its plan and its life, each gives its
// scopes.
func (p *Policy) Granted(ns GrantNamespace, ask GrantRequest) GrantResult {
	environment := cmp.Or(ask.Environment, p.DefaultEnvironment())
	_, declared := p.environments[environment]
	planDeclared := ask.Plan == "" || p.plans.bits[ask.Plan] != 0
	var tooShort []time.Duration // of each grant that is for all but the life; 0: any that ends
	var result GrantResult
	var granted ScopeSet
	for i := range p.grants {
		g := &p.grants[i]
		if !g.isFor(ns) {
			continue
		}
		result.Known = true
		if !declared || !g.covers(environment) {
			continue
		}
		result.EnvironmentGranted = true
		if !planDeclared || !g.coversPlan(ask.Plan) {
			continue
		}
		result.PlanGranted = true
		if !g.coversLife(ask.Life) {
			tooShort = append(tooShort, g.maxLife)
			continue
		}
		result.LifeGranted = true
		granted |= g.scopes
	}
	if result.PlanGranted && !result.LifeGranted && !slices.Contains(tooShort, 0) {
		result.LongestLife = slices.Max(tooShort)
	}
	result.Scopes, result.Missing = divide(&p.scopes, ask.Scopes, granted)
	return result
}

// isFor reports whether g is for the APIKeys of ns.
func (g *grant) isFor(ns GrantNamespace) bool {
	if g.namespace != "" {
		return ns.Name == g.namespace
	}
	return g.selector.Matches(labels.Set(ns.Labels))
}

// covers reports whether g is for an environment.
func (g *grant) covers(environment string) bool {
	return g.environments == nil || slices.Contains(g.environments, environment)
}

// coversPlan reports whether g is for a plan, or, "", for keys without one.
func (g *grant) coversPlan(plan string) bool {
	return g.plans == nil || slices.Contains(g.plans, plan)
}

// coversLife reports whether g is for keys that live so long; nil: without an end.
func (g *grant) coversLife(life *time.Duration) bool {
	if life == nil {
		return !g.expiring
	}
	return g.maxLife == 0 || *life <= g.maxLife
}

// divide parts the scopes asked for into those in granted, in the order of
// declaration, and the others, sorted.
func divide(s *scopes, asked []string, granted ScopeSet) (has, missing []string) {
	for _, name := range s.names {
		if s.bits[name]&granted != 0 && slices.Contains(asked, name) {
			has = append(has, name)
		}
	}
	for _, name := range asked {
		if s.bits[name]&granted == 0 {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return has, slices.Compact(missing)
}

// maxGrants is how many grants there can be, as in the schema of the API.
const maxGrants = 32

// grantCompiler reads the grants of one policy.
type grantCompiler struct {
	// own is the policy's own namespace.
	own    string
	spec   *v1alpha1.APIKeyPolicySpec
	scopes *scopes
	plans  *plans
	found  *problems
}

// compile reads all grants. Where there are none, the policy's own namespace is
// granted everything.
func (c *grantCompiler) compile() []grant {
	at := field.NewPath("spec", "grants")
	if c.spec.Grants == nil {
		return []grant{{namespace: c.own, scopes: c.scopes.all()}}
	}
	if len(c.spec.Grants) == 0 {
		c.found.add(at, "the list is empty: leave it out to grant the policy's own namespace everything, or fill it")
	}
	if !checkSize(c.found, at, c.spec.Grants, maxGrants) {
		return nil
	}
	var out []grant
	for i := range c.spec.Grants {
		out = append(out, c.grant(at.Index(i), &c.spec.Grants[i]))
	}
	return out
}

// grant reads one grant.
func (c *grantCompiler) grant(at *field.Path, g *v1alpha1.Grant) grant {
	out := grant{scopes: c.scopes.all()}
	out.namespace, out.selector = c.namespaces(at.Child("namespaces"), &g.Namespaces)
	checkNames(c.found, at.Child("scopes"), g.Scopes, maxScopes)
	if g.Scopes != nil {
		c.scopes.declared(c.found, at.Child("scopes"), texts(g.Scopes))
		out.scopes = c.scopes.closure(texts(g.Scopes))
	}
	checkNames(c.found, at.Child("environments"), g.Environments, maxEnvironments)
	if g.Environments != nil {
		out.environments = texts(g.Environments)
	}
	checkNames(c.found, at.Child("plans"), g.Plans, maxPlans)
	if g.Plans != nil {
		out.plans = texts(g.Plans)
		c.plans.declared(c.found, at.Child("plans"), out.plans)
	}
	out.maxLife, out.expiring = c.life(at, g)
	for i, name := range g.Environments {
		if !slices.ContainsFunc(c.spec.Environments, func(e v1alpha1.Environment) bool { return e.Name == name }) {
			c.found.add(at.Child("environments").Index(i), "the environment %q is not declared: add it to spec.environments", name)
		}
	}
	return out
}

// life reads how long the keys of a grant may live, 0 being any time, and whether they
// must end.
func (c *grantCompiler) life(at *field.Path, g *v1alpha1.Grant) (longest time.Duration, expiring bool) {
	if g.MaxTTL == nil {
		return 0, g.RequireExpiry
	}
	if g.MaxTTL.Duration < time.Second {
		c.found.add(at.Child("maxTTL"), "%s is not possible: write a duration of at least a second, as 2160h", g.MaxTTL.Duration)
	}
	return g.MaxTTL.Duration, true
}

// namespaces reads which namespaces a grant is for: the one of that name, or, where
// that is "", those that the selector matches.
func (c *grantCompiler) namespaces(at *field.Path, n *v1alpha1.GrantNamespaces) (string, labels.Selector) {
	if (n.From == v1alpha1.NamespacesSelector) != (n.Selector != nil) {
		c.found.add(at.Child("selector"), "selector goes with from: Selector, and only with it")
	}
	switch n.From {
	case v1alpha1.NamespacesAll:
		return "", labels.Everything()
	case v1alpha1.NamespacesSelector:
		selector, err := metav1.LabelSelectorAsSelector(n.Selector)
		if err != nil {
			c.found.add(at.Child("selector"), "correct the label selector: %v", err)
		}
		return "", selector
	case v1alpha1.NamespacesSame, "":
	default:
		c.found.add(at.Child("from"), "%q is not possible: write Same, All or Selector", n.From)
	}
	return c.own, nil
}
