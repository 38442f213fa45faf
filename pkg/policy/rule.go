package policy

// Rule is what some routes ask for. The zero Rule lets nobody in.
type Rule struct {
	// Anonymous: everybody is let in, with a key or without.
	Anonymous bool
	// AnyKey: every valid key of the policy is let in.
	AnyKey bool

	// needs are the scopes that a key must have.
	needs ScopeSet
	// one: one of needs is enough.
	one bool
	// denial is the answer to a key that lacks them; nil where none can.
	denial *Denial
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
