package policy_test

import (
	"strings"
	"testing"

	"keygate.dev/keygate/api/v1alpha1"
)

func TestCompileRefusesRules(t *testing.T) {
	long := strings.Repeat("a", 600)
	refuse(t, map[string]refused{
		"no rules":                              {`rules: null`, `spec.rules: there is no rule`},
		"an empty list of rules":                {`rules: []`, `spec.rules: there is no rule`},
		"too many rules":                        {`rules: ` + many(129, `{paths: ["/%d"], anyKey: true}`), `spec.rules: there are 129 entries, and 128`},
		"a rule that demands nothing":           {`rules: [{paths: ["/"]}]`, `spec.rules[0]: it has 0 of`},
		"scopes and anyScope":                   {`rules: [{paths: ["/"], scopes: [read], anyScope: [read]}]`, `spec.rules[0]: it has 2 of`},
		"scopes and anyKey":                     {`rules: [{paths: ["/"], scopes: [read], anyKey: true}]`, `spec.rules[0]: it has 2 of`},
		"anyKey and anonymous":                  {`rules: [{paths: ["/"], anyKey: true, anonymous: true}]`, `spec.rules[0]: it has 2 of`},
		"all four demands":                      {`rules: [{paths: ["/"], scopes: [read], anyScope: [read], anyKey: true, anonymous: true}]`, `spec.rules[0]: it has 4 of`},
		"an empty list beside anyKey":           {`rules: [{paths: ["/"], scopes: [], anyKey: true}]`, `spec.rules[0]: it has 2 of`},
		"a rule with no scopes in scopes":       {`rules: [{paths: ["/"], scopes: []}]`, `spec.rules[0].scopes: the list is empty`},
		"a rule with no scopes in anyScope":     {`rules: [{paths: ["/"], anyScope: []}]`, `spec.rules[0].anyScope: the list is empty`},
		"a rule's scope twice":                  {`rules: [{paths: ["/"], scopes: [read, read]}]`, `spec.rules[0].scopes[1]: "read" is there twice`},
		"a rule's scope that isn't there":       {`rules: [{paths: ["/"], scopes: [read, more]}]`, `spec.rules[0].scopes[1]: the scope "more" is not declared`},
		"a rule's alternative that isn't there": {`rules: [{paths: ["/"], anyScope: [more]}]`, `spec.rules[0].anyScope[0]: the scope "more" is not declared`},
		"too many scopes in a rule": {"scopes: " + many(17, "{name: s%d}") + `
rules: [{paths: ["/"], scopes: ` + many(17, "s%d") + "}]", `spec.rules[0].scopes: there are 17 entries, and 16`},
		"too many alternatives in a rule": {"scopes: " + many(17, "{name: s%d}") + `
rules: [{paths: ["/"], anyScope: ` + many(17, "s%d") + "}]", `spec.rules[0].anyScope: there are 17 entries, and 16`},
		"a message that is too long": {`rules: [{paths: ["/"], scopes: [read], message: ` + long[:513] + `}]`, `spec.rules[0].message: it has 513 characters`},

		"a rule without paths":      {`rules: [{anyKey: true}]`, `spec.rules[0].paths: there is no path`},
		"too many paths":            {`rules: [{anyKey: true, paths: ` + many(17, `"/%d"`) + `}]`, `spec.rules[0].paths: there are 17 entries, and 16`},
		"a method in lower case":    {`rules: [{methods: [GET, post], paths: ["/"], anyKey: true}]`, `spec.rules[0].methods[1]: "post"`},
		"a method that is too long": {`rules: [{methods: [` + strings.Repeat("A", 33) + `], paths: ["/"], anyKey: true}]`, `spec.rules[0].methods[0]`},
		"a method twice":            {`rules: [{methods: [GET, GET], paths: ["/"], anyKey: true}]`, `spec.rules[0].methods[1]: "GET" is there twice`},
		"an empty list of methods":  {`rules: [{methods: [], paths: ["/"], anyKey: true}]`, `spec.rules[0].methods: the list is empty`},
		"too many methods":          {`rules: [{methods: [` + letters(17) + `], paths: ["/"], anyKey: true}]`, `spec.rules[0].methods: there are 17 entries, and 16`},

		"an empty path":                          {`rules: [{paths: [""], anyKey: true}]`, `spec.rules[0].paths[0]: ""`},
		"a path without a slash":                 {`rules: [{paths: ["/", a], anyKey: true}]`, `spec.rules[0].paths[1]: "a"`},
		"a path with an empty segment":           {`rules: [{paths: ["/a//b"], anyKey: true}]`, `spec.rules[0].paths[0]: "/a//b"`},
		"a path with a dot segment":              {`rules: [{paths: ["/a/./b"], anyKey: true}]`, `spec.rules[0].paths[0]: no request with "/a/./b" is let in: it has a "." or ".." segment`},
		"a path with a dot-dot segment":          {`rules: [{paths: ["/a/.."], anyKey: true}]`, `spec.rules[0].paths[0]: no request with "/a/.." is let in`},
		"a path with an encoded slash":           {`rules: [{paths: ["/a%2Fb"], anyKey: true}]`, `it has an encoded slash or backslash`},
		"a path with an encoded letter":          {`rules: [{paths: ["/%61"], anyKey: true}]`, `it has an encoded character that needs no encoding`},
		"a path with an encoded NUL":             {`rules: [{paths: ["/%00"], anyKey: true}]`, `it has an encoded control byte`},
		"a path with a malformed escape":         {`rules: [{paths: ["/a%zz"], anyKey: true}]`, `spec.rules[0].paths[0]: "/a%zz"`},
		"a path with a query":                    {`rules: [{paths: ["/a?b"], anyKey: true}]`, `spec.rules[0].paths[0]: "/a?b"`},
		"a path with a semicolon":                {`rules: [{paths: ["/a;b"], anyKey: true}]`, `spec.rules[0].paths[0]: "/a;b"`},
		"a path with a name in a segment":        {`rules: [{paths: ["/a{b}"], anyKey: true}]`, `spec.rules[0].paths[0]: "/a{b}"`},
		"a path with a name without a name":      {`rules: [{paths: ["/{}"], anyKey: true}]`, `spec.rules[0].paths[0]: "/{}"`},
		"a rest that is not at the end":          {`rules: [{paths: ["/{rest...}/a"], anyKey: true}]`, `spec.rules[0].paths[0]: "/{rest...}/a"`},
		"a path that is too long":                {`rules: [{paths: ["/` + long[:256] + `"], anyKey: true}]`, `spec.rules[0].paths[0]`},
		"a base path without a slash":            {`basePath: v1`, `spec.basePath: "v1"`},
		"a base path with a slash behind":        {`basePath: /v1/`, `spec.basePath: "/v1/"`},
		"a base path with a name":                {`basePath: "/{v}"`, `spec.basePath: "/{v}"`},
		"a base path with dots":                  {`basePath: /a/../b`, `spec.basePath: no request with "/a/../b" is let in: it has a "." or ".." segment`},
		"a base path that is too long":           {`basePath: /` + long[:256], `spec.basePath`},
		"a rule's base path with dots":           {`rules: [{basePath: /.., paths: ["/"], anyKey: true}]`, `spec.rules[0].basePath: no request with "/.." is let in`},
		"a rule's base path with a slash behind": {`rules: [{basePath: /a/, paths: ["/"], anyKey: true}]`, `spec.rules[0].basePath: "/a/"`},

		"a path and method in two rules": {
			`rules: [{methods: [GET, PUT], paths: ["/a", "/b"], anyKey: true}, {methods: [POST, PUT], paths: ["/c", "/b"], scopes: [read]}]`,
			`spec.rules[1].paths[1]: spec.rules[0].paths[1] is the same path and has PUT too`,
		},
		"a path in two rules without methods": {
			`rules: [{paths: ["/a"], anyKey: true}, {paths: ["/a"], anonymous: true}]`,
			`spec.rules[1].paths[0]: spec.rules[0].paths[0] is the same path, and neither names a method`,
		},
		"a path twice in one rule":              {`rules: [{paths: ["/a", "/a"], anyKey: true}]`, `spec.rules[0].paths[1]: spec.rules[0].paths[0] is the same path`},
		"paths that differ in names":            {`rules: [{paths: ["/a/{x}/b"], anyKey: true}, {paths: ["/a/{y}/b"], scopes: [read]}]`, `spec.rules[1].paths[0]: spec.rules[0].paths[0] is the same path`},
		"rests that differ in names":            {`rules: [{paths: ["/a/{x...}"], anyKey: true}, {paths: ["/a/{y...}"], scopes: [read]}]`, `spec.rules[1].paths[0]: spec.rules[0].paths[0] is the same path`},
		"paths that differ in encoding":         {`rules: [{paths: ["/a%2Bb"], anyKey: true}, {paths: ["/a+b"], scopes: [read]}]`, `spec.rules[1].paths[0]: spec.rules[0].paths[0] is the same path`},
		"paths that are equal below base paths": {`rules: [{paths: ["/a/b"], anyKey: true}, {basePath: /a, paths: ["/b"], scopes: [read]}]`, `spec.rules[1].paths[0]: spec.rules[0].paths[0] is the same path`},
	})
}

// letters is a YAML list, without its brackets, of n methods.
func letters(n int) string {
	var out []string
	for i := range n {
		out = append(out, strings.Repeat("X", i+1))
	}
	return strings.Join(out, ", ")
}

// Short names for what the tables write as plain strings.
type (
	method  = v1alpha1.Method
	pattern = v1alpha1.PathPattern
	base    = v1alpha1.BasePath
)
