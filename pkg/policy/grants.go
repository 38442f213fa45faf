package policy

import (
	"slices"

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
	// scopes that it grants, closed over what they include.
	scopes ScopeSet
}

// Granted says what the grants for a namespace give to an APIKey that asks for an
// environment, "" being the default one, and scopes, and whose plan in force is plan
// (see [Policy.Plan]), "" being none. Several grants add up: of those that are for
// the environment and the plan, each gives its scopes.
func (p *Policy) Granted(ns GrantNamespace, environment, plan string, scopes []string) GrantResult {
	if environment == "" {
		environment = p.DefaultEnvironment()
	}
	_, declared := p.environments[environment]
	planDeclared := plan == "" || p.plans.bits[plan] != 0
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
		if planDeclared && g.coversPlan(plan) {
			result.PlanGranted = true
			granted |= g.scopes
		}
	}
	result.Scopes, result.Missing = divide(&p.scopes, scopes, granted)
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
	for i, name := range g.Environments {
		if !slices.ContainsFunc(c.spec.Environments, func(e v1alpha1.Environment) bool { return e.Name == name }) {
			c.found.add(at.Child("environments").Index(i), "the environment %q is not declared: add it to spec.environments", name)
		}
	}
	return out
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
