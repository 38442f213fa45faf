package policy

import (
	"slices"
	"strings"
)

// node is a place in the tree of a policy's paths: what is below the segments that
// lead to it.
type node struct {
	// literals are the literal segments that may follow, sorted by their text.
	literals []edge
	// any is where {name} leads; nil: nowhere.
	any *node
	// end is the path that ends here; nil: none.
	end *endpoint
	// rest is the path that has {name...} here; nil: none.
	rest *endpoint
}

// edge leads from a node to the next by a literal segment, decoded.
type edge struct {
	literal string
	next    *node
}

// endpoint is one path: its rules by method.
type endpoint struct {
	// methods maps method → rule.
	methods map[string]*Rule
	// other is the rule that names no method; nil: none.
	other *Rule
}

// Match finds the rule for a request; nil: none, which denies. path is the request's
// path without its query and must have passed [CheckPath].
//
// The most specific path that matches decides alone: at the first segment in which
// two differ, a literal goes before {name}, and that before {name...}. Of its rules,
// one that names the method goes before one that names none. Segments are compared
// percent-decoded, once. Time is bounded by the number of the policy's segments,
// whatever the path; without escapes nothing is allocated.
func (p *Policy) Match(method, path string) *Rule {
	if path == "" || path[0] != '/' {
		return nil
	}
	e := p.routes.find(path)
	if e == nil {
		return nil
	}
	if rule := e.methods[method]; rule != nil {
		return rule
	}
	return e.other
}

// find returns the most specific path that matches; nil: none does. path is what is
// left behind the segments that lead to n: "", or it begins with "/". Looking into
// the more specific branch first, and coming back where it ends nowhere, visits no
// node twice, because only one way leads to each.
func (n *node) find(path string) *endpoint {
	if path == "" {
		if n.end != nil {
			return n.end
		}
		return n.rest
	}
	text, below := cutSegment(path)
	if next := n.literal(decodeSegment(text)); next != nil {
		if e := next.find(below); e != nil {
			return e
		}
	}
	if n.any != nil && text != "" {
		if e := n.any.find(below); e != nil {
			return e
		}
	}
	return n.rest
}

// literal is the node behind a literal segment; nil: none.
func (n *node) literal(text string) *node {
	if i, ok := n.edge(text); ok {
		return n.literals[i].next
	}
	return nil
}

// edge finds where a literal segment is, or belongs, among literals.
func (n *node) edge(text string) (int, bool) {
	return slices.BinarySearchFunc(n.literals, text, func(e edge, text string) int {
		return strings.Compare(e.literal, text)
	})
}

// add returns the endpoint of a path, which is made where it is not there. Paths
// that differ only in names share one.
func (n *node) add(path []segment) *endpoint {
	for _, s := range path {
		switch s.kind {
		case literalSegment:
			n = n.addLiteral(s.literal)
		case anySegment:
			if n.any == nil {
				n.any = &node{}
			}
			n = n.any
		case restSegments: // always the last
			if n.rest == nil {
				n.rest = &endpoint{}
			}
			return n.rest
		}
	}
	if n.end == nil {
		n.end = &endpoint{}
	}
	return n.end
}

// addLiteral returns the node behind a literal segment, which is made where it is
// not there.
func (n *node) addLiteral(text string) *node {
	i, ok := n.edge(text)
	if !ok {
		n.literals = slices.Insert(n.literals, i, edge{text, &node{}})
	}
	return n.literals[i].next
}
