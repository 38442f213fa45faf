package policy_test

import (
	"fmt"
	"testing"

	"keygate.dev/keygate/pkg/policy"
)

func TestScopeSet(t *testing.T) {
	p := compile(t, `
scopes:
- {name: read}
- {name: write, includes: [read]}
- {name: admin, includes: [billing, write]}
- {name: billing}
- {name: a, includes: [b]}
- {name: b, includes: [c]}
- {name: c, includes: [a]}
- {name: self, includes: [self]}
rules: [{paths: [/], anyKey: true}]
`)
	const read, write, admin, billing, a, b, c, self policy.ScopeSet = 1, 2, 4, 8, 16, 32, 64, 128
	for name, tt := range map[string]struct {
		names []string
		want  policy.ScopeSet
	}{
		"none":                       {nil, 0},
		"one":                        {[]string{"read"}, read},
		"one that includes another":  {[]string{"write"}, read | write},
		"what the included includes": {[]string{"admin"}, read | write | admin | billing},
		"several":                    {[]string{"billing", "write"}, read | write | billing},
		"one twice":                  {[]string{"read", "read"}, read},
		"undeclared ones":            {[]string{"", "READ", "read ", "root", "billing"}, billing},
		"a circle, from a":           {[]string{"a"}, a | b | c},
		"a circle, from b":           {[]string{"b"}, a | b | c},
		"a circle, from c":           {[]string{"c"}, a | b | c},
		"one that includes itself":   {[]string{"self"}, self},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.ScopeSet(tt.names); got != tt.want {
				t.Errorf("%b, want %b", got, tt.want)
			}
		})
	}
}

// A chain of the most scopes, declared in the order that takes the most rounds to
// close.
func TestScopeSetOfALongChain(t *testing.T) {
	spec := "scopes: [{name: s0}"
	for i := 1; i < 64; i++ {
		spec = fmt.Sprintf("scopes: [{name: s%d, includes: [s%d]}, ", i, i-1) + spec[len("scopes: ["):]
	}
	p := compile(t, spec+"]\nrules: [{paths: [/], scopes: [s0]}]")
	if got := p.ScopeSet([]string{"s63"}); got != ^policy.ScopeSet(0) {
		t.Errorf("%b", got)
	}
	if got := p.ScopeSet([]string{"s0"}); got != 1<<63 {
		t.Errorf("%b", got)
	}
	if !p.Match("GET", "/").Permits(p.ScopeSet([]string{"s1"})) {
		t.Error("the last scope that fits is lost")
	}
}
