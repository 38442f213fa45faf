package policy

import "k8s.io/apimachinery/pkg/util/validation/field"

// inclusion is the names that a policy declares of one kind, each of which may include
// others. Its sets are bits: bit n is the n-th that is declared.
type inclusion[Set ~uint64] struct {
	// kind of what has these names, for people; list is the field of the spec that
	// declares them.
	kind, list string
	// names in the order of declaration, which is that of the bits.
	names []string
	// bits maps name → the set of this one alone.
	bits map[string]Set
	// closed maps name → the set of this one with all that it includes, directly or not.
	closed map[string]Set
}

// newInclusion declares nothing yet.
func newInclusion[Set ~uint64](kind, list string) inclusion[Set] {
	return inclusion[Set]{kind: kind, list: list, bits: map[string]Set{}, closed: map[string]Set{}}
}

// declare adds a name, whose field is at.
func (n *inclusion[Set]) declare(found *problems, at *field.Path, name string) {
	if n.bits[name] != 0 {
		found.add(at, "the %s %q is declared twice: declare it once", n.kind, name)
		return
	}
	n.bits[name] = 1 << len(n.names)
	n.closed[name] = n.bits[name]
	n.names = append(n.names, name)
}

// close adds to each name what it includes, until nothing is added any more. Names
// that include each other become equal. included maps name → what it includes.
func (n *inclusion[Set]) close(included map[string][]string) {
	for grew := true; grew; {
		grew = false
		for name, names := range included {
			before := n.closed[name]
			after := before | n.closure(names)
			n.closed[name] = after
			grew = grew || after != before
		}
	}
}

// closure is the set of the names given and of all that they include. What is not
// declared adds nothing.
func (n *inclusion[Set]) closure(names []string) Set {
	var set Set
	for _, name := range names {
		set |= n.closed[name]
	}
	return set
}

// all is the set of all names.
func (n *inclusion[Set]) all() Set { return n.closure(n.names) }

// declared notes those of names, whose field is at, that are not declared, and returns
// the set of the others, without what they include.
func (n *inclusion[Set]) declared(found *problems, at *field.Path, names []string) Set {
	var set Set
	for i, name := range names {
		set |= n.one(found, at.Index(i), name)
	}
	return set
}

// one returns the set of one name alone, and notes where it is not declared.
func (n *inclusion[Set]) one(found *problems, at *field.Path, name string) Set {
	bit, ok := n.bits[name]
	if !ok {
		found.add(at, "the %s %q is not declared: add it to spec.%s", n.kind, name, n.list)
	}
	return bit
}
