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
type scopes struct {
	// names in the order of declaration, which is that of the bits.
	names []string
	// bits maps name → the set of this scope alone.
	bits map[string]ScopeSet
	// closed maps name → the scope with all that it includes, directly or not.
	closed map[string]ScopeSet
}

// ScopeSet is the set of the scopes named and of all that they include, directly or
// not. Names that the policy does not declare add nothing.
func (p *Policy) ScopeSet(names []string) ScopeSet { return p.scopes.closure(names) }

// closure is the set of the scopes named and of all that they include.
func (s *scopes) closure(names []string) ScopeSet {
	var set ScopeSet
	for _, name := range names {
		set |= s.closed[name]
	}
	return set
}

// all is the set of all scopes.
func (s *scopes) all() ScopeSet { return s.closure(s.names) }

// compileScopes reads the declared scopes.
func compileScopes(declared []v1alpha1.Scope, found *problems) scopes {
	at := field.NewPath("spec", "scopes")
	s := scopes{bits: map[string]ScopeSet{}, closed: map[string]ScopeSet{}}
	if !checkSize(found, at, declared, maxScopes) {
		return s
	}
	for i, d := range declared {
		name := string(d.Name)
		scopeShape.check(found, at.Index(i).Child("name"), name)
		if s.bits[name] != 0 {
			found.add(at.Index(i).Child("name"), "the scope %q is declared twice: declare it once", name)
		}
		s.names = append(s.names, name)
		s.bits[name] = 1 << i
		s.closed[name] = 1 << i
	}
	for i, d := range declared {
		includes := at.Index(i).Child("includes")
		checkNames(found, includes, d.Includes, maxScopes)
		s.declared(found, includes, d.Includes)
	}
	s.close(declared)
	return s
}

// close adds to each scope what it includes, until nothing is added any more. Scopes
// that include each other become equal.
func (s *scopes) close(declared []v1alpha1.Scope) {
	for grew := true; grew; {
		grew = false
		for _, d := range declared {
			before := s.closed[string(d.Name)]
			after := before | s.closure(texts(d.Includes))
			s.closed[string(d.Name)] = after
			grew = grew || after != before
		}
	}
}

// declared notes those of names that are not declared, and returns the set of the
// others, without what they include.
func (s *scopes) declared(found *problems, at *field.Path, names []v1alpha1.ScopeName) ScopeSet {
	var set ScopeSet
	for i, name := range names {
		bit, ok := s.bits[string(name)]
		if !ok {
			found.add(at.Index(i), "the scope %q is not declared: add it to spec.scopes", name)
		}
		set |= bit
	}
	return set
}
