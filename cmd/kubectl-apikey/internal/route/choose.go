package route

import (
	"cmp"
	"slices"

	"keygate.dev/keygate/pkg/policy"
)

// Key is what a key may do.
type Key struct {
	Environment, Plan string
	Scopes            []string
}

// Permits reports whether a rule of p lets a key in, its limits left aside.
func Permits(p *policy.Policy, rule *policy.Rule, k Key) bool {
	plan, known := p.Plan(k.Environment, k.Plan)
	return rule.Anonymous || known && rule.Permits(p.ScopeSet(k.Scopes)) && rule.PermitsPlan(p, plan)
}

// ToShow chooses a request that shows a key off: one that it is let in with, a GET
// before others, a path without made-up parts before others, one that needs the key
// before one that does not. False: it is let in nowhere.
func ToShow(samples []Sample, p *policy.Policy, k Key) (Sample, bool) {
	return best(samples, func(s Sample) (int, bool) {
		rank := 0
		if s.Compiled.Anonymous {
			rank += 4
		}
		if s.Method != "GET" {
			rank += 2
		}
		if !s.Plain {
			rank++
		}
		return rank, Permits(p, s.Compiled, k)
	})
}

// ToAsk chooses the request with which to ask whose a key is: one whose answer is about
// the key, and that costs it as little as can be. What is not counted goes first, then
// what asks for the most scopes, because a denial is never counted. False: no rule of
// the policy asks for a key.
func ToAsk(samples []Sample) (Sample, bool) {
	const most = 1 << 10
	return best(samples, func(s Sample) (int, bool) {
		rank := most - len(s.Spec.Scopes)
		if s.Spec.Plan != "" {
			rank -= most / 4
		}
		if s.Compiled.Cost() > 0 {
			rank += 2 * most * int(s.Compiled.Cost())
		}
		return rank, !s.Compiled.Anonymous
	})
}

// best is the first sample with the lowest rank of those that can be.
func best(samples []Sample, rank func(Sample) (int, bool)) (Sample, bool) {
	var fit []Sample
	for _, s := range samples {
		if _, can := rank(s); can {
			fit = append(fit, s)
		}
	}
	if len(fit) == 0 {
		return Sample{}, false
	}
	return slices.MinFunc(fit, func(a, b Sample) int {
		first, _ := rank(a)
		second, _ := rank(b)
		return cmp.Compare(first, second)
	}), true
}
