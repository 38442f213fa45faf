package policy

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"keygate.dev/keygate/api/v1alpha1"
)

// ScopeSet is a set of one policy's scopes: bit n is the n-th that the policy
// declares. Sets of different policies have nothing to do with each other.
type ScopeSet uint64

// maxScopes is how many scopes a [ScopeSet] can tell apart.
const maxScopes = 64

// scopes are the scopes that a policy declares.
type scopes = inclusion[ScopeSet]

// ScopeSet is the set of the scopes named and of all that they include, directly or
// not. Names that the policy does not declare add nothing.
func (p *Policy) ScopeSet(names []string) ScopeSet { return p.scopes.closure(names) }

// compileScopes reads the declared scopes.
func compileScopes(given []v1alpha1.Scope, found *problems) scopes {
	at := field.NewPath("spec", "scopes")
	s := newInclusion[ScopeSet]("scope", "scopes")
	if !checkSize(found, at, given, maxScopes) {
		return s
	}
	for i, d := range given {
		scopeShape.check(found, at.Index(i).Child("name"), string(d.Name))
		s.declare(found, at.Index(i).Child("name"), string(d.Name))
	}
	included := map[string][]string{}
	for i, d := range given {
		includes := at.Index(i).Child("includes")
		checkNames(found, includes, d.Includes, maxScopes)
		included[string(d.Name)] = texts(d.Includes)
		s.declared(found, includes, included[string(d.Name)])
	}
	s.close(included)
	return s
}
