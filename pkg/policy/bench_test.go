package policy_test

import (
	"fmt"
	"testing"

	"keygate.dev/keygate/pkg/policy"
)

// largest is a policy of the most rules, paths and methods.
func largest(tb testing.TB) *policy.Source {
	src := source(tb, "errors: {bodies: {default: {error: \"{message}\", needs: \"{requiredScopes}\", id: \"{requestId}\"}}}")
	src.Spec.Rules = nil
	for i := range 128 {
		rule := source(tb, "").Spec.Rules[0]
		rule.Message = fmt.Sprintf("Rule %d.", i)
		rule.Paths = nil
		for j := range 16 {
			rule.Paths = append(rule.Paths, pattern(fmt.Sprintf("/v1/collection-%d/{id}/part-%d", i, j)))
		}
		for j := range 16 {
			rule.Methods = append(rule.Methods, method(fmt.Sprintf("M-%c", 'A'+j)))
		}
		src.Spec.Rules = append(src.Spec.Rules, rule)
	}
	return src
}

func BenchmarkCompileLargest(b *testing.B) {
	src := largest(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Compile(src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	p, err := policy.Compile(largest(b))
	if err != nil {
		b.Fatal(err)
	}
	for name, request := range map[string][2]string{
		"rule": {"M-P", "/v1/collection-127/0123456789abcdef/part-15"},
		"none": {"M-P", "/v1/collection-127/0123456789abcdef/part-16"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if policy.CheckPath(request[1]) != nil || (p.Match(request[0], request[1]) == nil) != (name == "none") {
					b.Fatal("not as expected")
				}
			}
		})
	}
}

func BenchmarkAppendBody(b *testing.B) {
	d := stepsiesLike(b)
	buffer := make([]byte, 0, 1024)
	v := policy.Values{RequestID: "7e0f2c1e-9f54-4b43-a6a1-6a3b2a1f2f3c", KeyID: "0123456789abcdef"}
	b.ReportAllocs()
	for b.Loop() {
		buffer = d.AppendBody(buffer[:0], v)
	}
}

func BenchmarkByHost(b *testing.B) {
	table := policy.NewTable([]policy.Entry{entry(b, "a/exact", 1, "api.example.com"), entry(b, "a/wild", 1, "*.example.com")})
	b.ReportAllocs()
	for b.Loop() {
		if p, _ := table.ByHost("a.b.example.com:443"); p == nil {
			b.Fatal("not found")
		}
	}
}

// stepsiesLike is a denial with a body of its own that has both of a request's values.
func stepsiesLike(tb testing.TB) *policy.Denial {
	return compile(tb, `errors: {bodies: {default: {error: {code: "{reason}", message: "{message}"}, request: "{requestId}", key: "{keyId}"}}}`).
		Denial(policy.InvalidKey, nil)
}

// What a request costs: nothing is allocated.
func TestNothingIsAllocatedPerRequest(t *testing.T) {
	p := compile(t, threePlans+`rules: [{paths: ["/a/{x}/c", "/a/b/{y}", "/{rest...}"], scopes: [read]}, {paths: [/plan], anyKey: true, plan: basic}]`)
	limited := p.Denial(policy.RateLimited, nil)
	table := policy.NewTable([]policy.Entry{entry(t, "a/wild", 1, "*.example.com")})
	denial, buffer := stepsiesLike(t), make([]byte, 0, 1024)
	for name, f := range map[string]func(){
		"CheckPath": func() { _ = policy.CheckPath("/a/b%20c/%E2%82%AC") },
		"Match":     func() { p.Match("GET", "/a/b/c/d") },
		"ScopeSet":  func() { p.ScopeSet([]string{"read", "write"}) },
		"ByHost":    func() { table.ByHost("api.example.com:443") },
		"ByName":    func() { table.ByName("a/wild") },
		"Denial":    func() { p.Denial(policy.InvalidKey, nil) },
		"Limited": func() {
			limited.AppendBody(buffer, policy.Values{RequestID: "r", KeyID: "k", RetryAfter: 3599, Limit: "100"})
		},
		"Plan":        func() { p.Plan("test", "") },
		"Limits":      func() { p.Limits("basic") },
		"PermitsPlan": func() { p.Match("GET", "/plan").PermitsPlan(p, "business") },
		"AppendBody":  func() { denial.AppendBody(buffer, policy.Values{RequestID: "r", KeyID: "k"}) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
