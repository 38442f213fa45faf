package policy

// Rule is what some routes ask for. The zero Rule lets nobody in.
type Rule struct {
	// Index is the rule's place in spec.rules, from 0.
	Index int
	// Anonymous: everybody is let in, with a key or without.
	Anonymous bool
	// AnyKey: every valid key of the policy is let in.
	AnyKey bool

	// needs are the scopes that a key must have.
	needs ScopeSet
	// one: one of needs is enough.
	one bool
	// plan that a key must have, or one that includes it; 0: none.
	plan planSet
	// cost against the limits of the key's plan.
	cost int64
	// scopeDenial is the answer to a key that lacks needs, planDenial to one that lacks
	// plan; nil where none can.
	scopeDenial, planDenial *Denial
}

// Permits reports whether a key with the scopes have, closed over what they include,
// is let in.
func (r *Rule) Permits(have ScopeSet) bool {
	switch {
	case r.Anonymous || r.AnyKey:
		return true
	case r.one:
		return have&r.needs != 0
	}
	return r.needs != 0 && have&r.needs == r.needs
}

// PermitsPlan reports whether a key with a plan of p, the policy of the rule, is let
// in. A plan that p does not declare, or none (""), satisfies only rules that ask for
// none.
func (r *Rule) PermitsPlan(p *Policy, plan string) bool {
	return r.permitsAnyOf(p.plans.closed[plan])
}

// permitsAnyOf reports whether a key with one of these plans is let in.
func (r *Rule) permitsAnyOf(have planSet) bool { return r.plan == 0 || have&r.plan != 0 }

// Cost is how many requests one request counts for against the limits of the key's
// plan; 0: it is not counted.
func (r *Rule) Cost() int64 { return r.cost }
