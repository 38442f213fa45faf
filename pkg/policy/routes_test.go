package policy_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"keygate.dev/keygate/pkg/policy"
)

// routed compiles a policy with one rule for each route, "GET,PUT /path" or "/path",
// and returns what says which route decides a request; "": none does.
func routed(tb testing.TB, basePath string, routes ...string) func(method, path string) string {
	tb.Helper()
	src := source(tb, "errors: {bodies: {default: '{message}'}}")
	src.Spec.BasePath = "/"
	src.Spec.Rules = nil
	for _, r := range routes {
		rule := source(tb, "").Spec.Rules[0]
		rule.Message = r
		methods, path, ok := strings.Cut(r, " ")
		if !ok {
			methods, path = "", r
		}
		if methods != "" {
			for _, m := range strings.Split(methods, ",") {
				rule.Methods = append(rule.Methods, method(m))
			}
		}
		rule.Paths[0] = pattern(path)
		src.Spec.Rules = append(src.Spec.Rules, rule)
	}
	if basePath != "" {
		src.Spec.BasePath = base(basePath)
	}
	p, err := policy.Compile(src)
	if err != nil {
		tb.Fatal(err)
	}
	return func(method, path string) string {
		if err := policy.CheckPath(path); err != nil {
			tb.Fatalf("%q: %v", path, err)
		}
		rule := p.Match(method, path)
		if rule == nil {
			return ""
		}
		return strings.Trim(string(p.Denial(policy.InsufficientScope, rule).AppendBody(nil, policy.Values{})), `"`)
	}
}

func TestMatch(t *testing.T) {
	type requests map[string]string // "METHOD path" → the route that decides
	for name, c := range map[string]struct {
		base   string
		routes []string
		requests
	}{
		"literals": {"", []string{"/a", "/a/b", "/c/"}, requests{
			"GET /a": "/a", "GET /a/b": "/a/b", "GET /c/": "/c/",
			"GET /": "", "GET /a/": "", "GET /a/b/": "", "GET /c": "", "GET /b": "", "GET /a/b/c": "", "GET /A": "",
		}},
		"the root": {"", []string{"/"}, requests{"GET /": "/", "GET /a": ""}},
		"a name": {"", []string{"/a/{x}"}, requests{
			"GET /a/b": "/a/{x}", "GET /a/b.c:d": "/a/{x}",
			"GET /a": "", "GET /a/": "", "GET /a/b/": "", "GET /a/b/c": "",
		}},
		"a name at the root":    {"", []string{"/{x}"}, requests{"GET /a": "/{x}", "GET /": "", "GET /a/": ""}},
		"a name before a slash": {"", []string{"/{x}/"}, requests{"GET /a/": "/{x}/", "GET /a": "", "GET /": ""}},
		"a rest": {"", []string{"/a/{rest...}"}, requests{
			"GET /a": "/a/{rest...}", "GET /a/": "/a/{rest...}", "GET /a/b": "/a/{rest...}", "GET /a/b/": "/a/{rest...}", "GET /a/b/c/d": "/a/{rest...}",
			"GET /": "", "GET /ab": "", "GET /b/a": "",
		}},
		"a rest at the root":  {"", []string{"/{rest...}"}, requests{"GET /": "/{rest...}", "GET /a": "/{rest...}", "GET /a/b/": "/{rest...}"}},
		"a rest below a name": {"", []string{"/{x}/{rest...}"}, requests{"GET /a": "/{x}/{rest...}", "GET /a/b/c": "/{x}/{rest...}", "GET /": ""}},

		"a literal goes before a name": {"", []string{"/a/{x}/c", "/a/b/{y}"}, requests{
			"GET /a/b/c": "/a/b/{y}", "GET /a/b/d": "/a/b/{y}", "GET /a/d/c": "/a/{x}/c", "GET /a/d/d": "",
		}},
		"a name goes before a rest": {"", []string{"/a/{x}", "/a/{rest...}"}, requests{
			"GET /a/b": "/a/{x}", "GET /a": "/a/{rest...}", "GET /a/": "/a/{rest...}", "GET /a/b/c": "/a/{rest...}", "GET /a/b/": "/a/{rest...}",
		}},
		"the end goes before a rest": {"", []string{"/a", "/a/{rest...}"}, requests{"GET /a": "/a", "GET /a/": "/a/{rest...}"}},
		"a slash goes before a rest": {"", []string{"/a/", "/a/{rest...}"}, requests{"GET /a/": "/a/", "GET /a": "/a/{rest...}"}},
		"back from a literal that leads nowhere": {"", []string{"/a/b/c", "/a/{x}/d", "/a/{rest...}"}, requests{
			"GET /a/b/c": "/a/b/c", "GET /a/b/d": "/a/{x}/d", "GET /a/b/e": "/a/{rest...}", "GET /a/b": "/a/{rest...}",
		}},
		"back through several segments": {"", []string{"/a/b/c/d/e", "/{p}/b/{q}/d/f", "/a/{r}/c/{s...}", "/{t...}"}, requests{
			"GET /a/b/c/d/e": "/a/b/c/d/e", "GET /a/b/c/d/f": "/a/{r}/c/{s...}", "GET /x/b/c/d/f": "/{p}/b/{q}/d/f", "GET /a/b/x/d/f": "/{p}/b/{q}/d/f", "GET /a/b/x/d/g": "/{t...}",
		}},
		"a rest of a more specific branch goes before a name": {"", []string{"/a/{rest...}", "/{x}/b"}, requests{
			"GET /a/b": "/a/{rest...}", "GET /c/b": "/{x}/b", "GET /c/d": "",
		}},

		"a method": {"", []string{"GET /a"}, requests{"GET /a": "GET /a", "HEAD /a": "", "POST /a": "", "get /a": "", "GE /a": "", " /a": ""}},
		"a named method goes before none": {"", []string{"/a", "GET,PUT /a"}, requests{
			"GET /a": "GET,PUT /a", "PUT /a": "GET,PUT /a", "POST /a": "/a", "HEAD /a": "/a",
		}},
		"methods of a path in several rules": {"", []string{"GET /a", "PUT /a"}, requests{"GET /a": "GET /a", "PUT /a": "PUT /a", "POST /a": ""}},
		"the path decides alone, then the method": {"", []string{"GET /a/{x}", "POST /a/b", "/{rest...}"}, requests{
			"GET /a/b": "", "POST /a/b": "POST /a/b", "GET /a/c": "GET /a/{x}", "POST /a/c": "", "POST /c": "/{rest...}",
		}},

		"a base path":                  {"/v1", []string{"/a", "/{x}/b"}, requests{"GET /v1/a": "/a", "GET /v1/x/b": "/{x}/b", "GET /a": "", "GET /v1": "", "GET /v2/a": ""}},
		"the root below a base path":   {"/v1", []string{"/"}, requests{"GET /v1/": "/", "GET /v1": "", "GET /": ""}},
		"a rest below a base path":     {"/v1", []string{"/{rest...}"}, requests{"GET /v1": "/{rest...}", "GET /v1/": "/{rest...}", "GET /v1/a": "/{rest...}", "GET /": "", "GET /v1a": ""}},
		"a base path of two segments":  {"/a%20b/c", []string{"/d"}, requests{"GET /a%20b/c/d": "/d", "GET /a%20b/d": ""}},
		"the base path that adds none": {"/", []string{"/a"}, requests{"GET /a": "/a"}},

		"segments are compared decoded": {"", []string{"/a%20b", "/c+d", "/%C3%A9", "/100%25"}, requests{
			"GET /a%20b": "/a%20b", "GET /c%2Bd": "/c+d", "GET /c+d": "/c+d", "GET /c%2bd": "/c+d", "GET /%c3%A9": "/%C3%A9", "GET /100%25": "/100%25", "GET /a+b": "",
		}},
		"segments are decoded once":       {"", []string{"/a%25b", "/{x}/z"}, requests{"GET /a%25b": "/a%25b", "GET /a%2525b": "", "GET /a%252Fb": "", "GET /%252F/z": "/{x}/z"}},
		"a brace is no name in a request": {"", []string{"/%7Bx%7D", "/b/{y}"}, requests{"GET /{x}": "/%7Bx%7D", "GET /b/{y}": "/b/{y}", "GET /a": ""}},
		"many literals": {"", []string{"/m", "/c", "/x", "/a", "/z", "/k", "/kk", "/k%20", "/{rest...}"}, requests{
			"GET /a": "/a", "GET /c": "/c", "GET /k": "/k", "GET /kk": "/kk", "GET /k%20": "/k%20", "GET /m": "/m", "GET /x": "/x", "GET /z": "/z", "GET /b": "/{rest...}",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			match := routed(t, c.base, c.routes...)
			for request, want := range c.requests {
				method, path, _ := strings.Cut(request, " ")
				if got := match(method, path); got != want {
					t.Errorf("%s is decided by %q, want %q", request, got, want)
				}
			}
		})
	}
}

func TestMatchARulesOwnBasePath(t *testing.T) {
	p := compile(t, `
basePath: /v1
rules:
- {paths: [/a], anyKey: true}
- {basePath: /, paths: [/a], anonymous: true}
- {basePath: /v2, paths: [/a], scopes: [read]}
`)
	for path, want := range map[string]string{"/v1/a": "anyKey", "/a": "anonymous", "/v2/a": "scopes", "/v1/v2/a": "none"} {
		got := "none"
		switch rule := p.Match("GET", path); {
		case rule == nil:
		case rule.AnyKey:
			got = "anyKey"
		case rule.Anonymous:
			got = "anonymous"
		default:
			got = "scopes"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// What CheckPath refuses must never be let in by a catch-all either, should someone
// forget to ask it.
func TestMatchOnlyPaths(t *testing.T) {
	p := compile(t, `rules: [{paths: ["/{rest...}"], anonymous: true}]`)
	for _, path := range []string{"", "*", "a/b", "http://example.com/"} {
		if p.Match("GET", path) != nil {
			t.Errorf("%q has a rule", path)
		}
	}
	if p.Match("GET", "/") == nil {
		t.Error("/ has no rule")
	}
}

func TestPermits(t *testing.T) {
	const spec = `
scopes: [{name: read}, {name: write}, {name: other}, {name: admin, includes: [read, write]}]
rules: [{paths: [/], %s}]
`
	for name, c := range map[string]struct {
		demand  string
		have    []string
		permits bool
	}{
		"anonymous, with none":                 {"anonymous: true", nil, true},
		"any key, with none":                   {"anyKey: true", nil, true},
		"any key, with one":                    {"anyKey: true", []string{"read"}, true},
		"one scope, with none":                 {"scopes: [read]", nil, false},
		"one scope, with it":                   {"scopes: [read]", []string{"read"}, true},
		"one scope, with another":              {"scopes: [read]", []string{"write"}, false},
		"one scope, with more":                 {"scopes: [read]", []string{"other", "read"}, true},
		"one scope, included":                  {"scopes: [read]", []string{"admin"}, true},
		"one scope, with all that it includes": {"scopes: [admin]", []string{"read", "write"}, false},
		"two scopes, with one":                 {"scopes: [read, other]", []string{"read"}, false},
		"two scopes, with the other":           {"scopes: [read, other]", []string{"other"}, false},
		"two scopes, with both":                {"scopes: [read, other]", []string{"other", "read"}, true},
		"two scopes, one of them included":     {"scopes: [read, other]", []string{"other", "admin"}, true},
		"an alternative, with none":            {"anyScope: [read, other]", nil, false},
		"an alternative, with the first":       {"anyScope: [read, other]", []string{"read"}, true},
		"an alternative, with the second":      {"anyScope: [read, other]", []string{"other"}, true},
		"an alternative, with neither":         {"anyScope: [read, other]", []string{"write"}, false},
		"an alternative, included":             {"anyScope: [read, other]", []string{"admin"}, true},
		"an undeclared scope":                  {"scopes: [read]", []string{"Read", "", "root"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, fmt.Sprintf(spec, c.demand))
			if got := p.Match("GET", "/").Permits(p.ScopeSet(c.have)); got != c.permits {
				t.Errorf("permits: %v, want %v", got, c.permits)
			}
		})
	}
	if (&policy.Rule{}).Permits(^policy.ScopeSet(0)) {
		t.Error("the zero Rule lets somebody in")
	}
}

func TestRuleSaysWhatItAsksFor(t *testing.T) {
	for demand, want := range map[string]policy.Rule{
		"anonymous: true": {Anonymous: true}, "anyKey: true": {AnyKey: true}, "scopes: [read]": {}, "anyScope: [read]": {},
	} {
		rule := compile(t, "rules: [{paths: [/], "+demand+"}]").Match("GET", "/")
		if rule.Anonymous != want.Anonymous || rule.AnyKey != want.AnyKey {
			t.Errorf("%s: anonymous %v, any key %v", demand, rule.Anonymous, rule.AnyKey)
		}
	}
}

// slowMatch finds the most specific of patterns that matches path, by comparing each
// with each; -1: none does.
func slowMatch(patterns []string, path string) int {
	best := -1
	for i, pattern := range patterns {
		if slowMatches(pattern, path) && (best < 0 || slowMoreSpecific(pattern, patterns[best])) {
			best = i
		}
	}
	return best
}

// slowMatches reports whether one pattern matches.
func slowMatches(pattern, path string) bool {
	want, have := strings.Split(pattern[1:], "/"), strings.Split(path[1:], "/")
	for i, w := range want {
		if strings.HasSuffix(w, "...}") {
			return i == 0 || len(have) >= i
		}
		if i >= len(have) || strings.HasPrefix(w, "{") && have[i] == "" || !strings.HasPrefix(w, "{") && unescaped(w) != unescaped(have[i]) {
			return false
		}
	}
	return len(want) == len(have)
}

// slowMoreSpecific compares two patterns that match the same path: one that ends goes
// before one that has a rest there.
func slowMoreSpecific(a, b string) bool {
	rank := func(segments []string, i int) int {
		switch {
		case i >= len(segments):
			return 0
		case strings.HasSuffix(segments[i], "...}"):
			return 2
		case strings.HasPrefix(segments[i], "{"):
			return 1
		}
		return 0
	}
	as, bs := strings.Split(a[1:], "/"), strings.Split(b[1:], "/")
	for i := range max(len(as), len(bs)) {
		if ra, rb := rank(as, i), rank(bs, i); ra != rb {
			return ra < rb
		}
	}
	return false
}

// unescaped decodes a segment.
func unescaped(segment string) string {
	s, err := url.PathUnescape(segment)
	if err != nil {
		panic(err) // CheckPath has let it through
	}
	return s
}

func FuzzMatch(f *testing.F) {
	f.Add("/a/{x}/c\n/a/b/{y}\n/a/{rest...}", "/a/b/c")
	f.Add("/{x}/{y}\n/a/{rest...}\n/{rest...}", "/b/")
	f.Add("/\n/a\n/a/\n/a%20b", "/a%20b")
	f.Add("/%7Bx%7D\n/{x}", "/{x}")
	base := source(f, "errors: {bodies: {default: '{message}'}}")
	template := base.Spec.Rules[0]
	f.Fuzz(func(t *testing.T, routes, path string) {
		if policy.CheckPath(path) != nil {
			return
		}
		src := *base
		src.Spec.Rules = nil
		patterns := strings.Split(routes, "\n")
		for i, p := range patterns {
			rule := template
			rule.Message = fmt.Sprint(i)
			rule.Paths = append(rule.Paths[:0:0], pattern(p))
			src.Spec.Rules = append(src.Spec.Rules, rule)
		}
		p, err := policy.Compile(&src)
		if err != nil {
			return
		}
		got := -1
		if rule := p.Match("GET", path); rule != nil {
			fmt.Sscanf(string(p.Denial(policy.InsufficientScope, rule).AppendBody(nil, policy.Values{})), `"%d"`, &got)
		}
		if want := slowMatch(patterns, path); got != want {
			t.Errorf("%q is decided by pattern %d of %q, want %d", path, got, patterns, want)
		}
	})
}
