package policy_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
)

// minimal is the least that a policy must say.
const minimal = `
environments: [{name: live, prefix: sk_live_}]
scopes: [{name: read}, {name: write}]
rules: [{paths: ["/"], scopes: [read]}]
`

// source is minimal with members taken from override, which is YAML; a member that is
// null there is left out.
func source(tb testing.TB, override string) *policy.Source {
	tb.Helper()
	var spec, with map[string]any
	if err := yaml.UnmarshalStrict([]byte(minimal), &spec); err != nil {
		tb.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(override), &with); err != nil {
		tb.Fatalf("%v in:\n%s", err, override)
	}
	maps.Copy(spec, with)
	maps.DeleteFunc(spec, func(_ string, v any) bool { return v == nil })
	text, err := yaml.Marshal(spec)
	if err != nil {
		tb.Fatal(err)
	}
	src := &policy.Source{Namespace: "platform", Name: "stepsies", UID: "a-uid", Created: time.Unix(1, 0), ClaimsHosts: true}
	if err := yaml.UnmarshalStrict(text, &src.Spec); err != nil {
		tb.Fatalf("%v in:\n%s", err, text)
	}
	return src
}

// compile compiles minimal with members taken from override.
func compile(tb testing.TB, override string) *policy.Policy {
	tb.Helper()
	p, err := policy.Compile(source(tb, override))
	if err != nil {
		tb.Fatalf("%v in:\n%s", err, override)
	}
	return p
}

// many is a YAML list of n entries, in each of which every %d is its number.
func many(n int, entry string) string {
	var out []string
	for i := range n {
		out = append(out, strings.ReplaceAll(entry, "%d", fmt.Sprint(i)))
	}
	return "[" + strings.Join(out, ", ") + "]"
}

func TestCompileRefuses(t *testing.T) {
	long := strings.Repeat("a", 600)
	refuse(t, map[string]refused{
		"a host with an upper-case letter": {`hosts: [Api.example.com]`, `spec.hosts[0]: "Api.example.com"`},
		"a wildcard within a host":         {`hosts: [a.example.com, "a.*.example.com"]`, `spec.hosts[1]: "a.*.example.com"`},
		"a bare wildcard":                  {`hosts: ["*"]`, `spec.hosts[0]`},
		"a host with a port":               {`hosts: ["example.com:80"]`, `spec.hosts[0]`},
		"a host with a dot at the end":     {`hosts: [example.com.]`, `spec.hosts[0]`},
		"a host that is too long":          {`hosts: [` + long[:254] + `]`, `spec.hosts[0]`},
		"a host twice":                     {`hosts: [a.com, b.com, a.com]`, `spec.hosts[2]: "a.com" is there twice`},
		"too many hosts":                   {`hosts: ` + many(33, "h%d.com"), `spec.hosts: there are 33 entries, and 32`},

		"no environments":                      {`environments: null`, `spec.environments: there is no environment`},
		"too many environments":                {`environments: ` + many(17, "{name: e%d, prefix: p%d_}"), `spec.environments: there are 17 entries, and 16`},
		"an environment twice":                 {`environments: [{name: a, prefix: a_}, {name: a, prefix: b_}]`, `spec.environments[1].name: the environment "a" is declared twice`},
		"an environment without a name":        {`environments: [{name: "", prefix: a_}]`, `spec.environments[0].name: ""`},
		"an environment's name with a space":   {`environments: [{name: "a b", prefix: a_}]`, `spec.environments[0].name: "a b"`},
		"an environment without a prefix":      {`environments: [{name: a, prefix: ""}]`, `spec.environments[0].prefix: ""`},
		"a prefix that is too long":            {`environments: [{name: a, prefix: ` + long[:33] + `}]`, `spec.environments[0].prefix`},
		"a prefix with a character no key has": {`environments: [{name: a, prefix: "a="}]`, `spec.environments[0].prefix: "a="`},
		"a prefix that begins an earlier one":  {`environments: [{name: a, prefix: sk_live_}, {name: b, prefix: sk_}]`, `spec.environments[1].prefix: of "sk_" and spec.environments[0].prefix "sk_live_"`},
		"a prefix that an earlier one begins":  {`environments: [{name: x, prefix: x}, {name: a, prefix: sk_}, {name: b, prefix: sk_live_}]`, `spec.environments[2].prefix: of "sk_live_" and spec.environments[1].prefix "sk_"`},
		"a prefix twice":                       {`environments: [{name: a, prefix: sk_}, {name: b, prefix: sk_}]`, `spec.environments[1].prefix`},

		"an id that is too long":         {`keyFormat: {idLength: 33}`, `spec.keyFormat.idLength: 33 is not possible`},
		"an id below zero":               {`keyFormat: {idLength: -1}`, `spec.keyFormat.idLength: -1 is not possible`},
		"an unknown encoding":            {`keyFormat: {encoding: Base64}`, `spec.keyFormat.encoding: "Base64"`},
		"a hex secret under 128 bits":    {`keyFormat: {encoding: Hex, length: 31}`, `spec.keyFormat.length: a secret of 31`},
		"a base62 secret under 128 bits": {`keyFormat: {encoding: Base62, length: 21}`, `spec.keyFormat.length: a secret of 21`},
		"a negative length":              {`keyFormat: {length: -1}`, `spec.keyFormat.length`},
		"a secret that is too long":      {`keyFormat: {length: 257}`, `spec.keyFormat.length: 257`},

		"a scope twice":                      {`scopes: [{name: read}, {name: read}]`, `spec.scopes[1].name: the scope "read" is declared twice`},
		"a scope with a quote":               {`scopes: [{name: read}, {name: 'a"b'}]`, `spec.scopes[1].name: "a\"b"`},
		"a scope with a backslash":           {`scopes: [{name: read}, {name: 'a\b'}]`, `spec.scopes[1].name`},
		"a scope with a space":               {`scopes: [{name: read}, {name: 'a b'}]`, `spec.scopes[1].name`},
		"a scope without a name":             {`scopes: [{name: read}, {name: ""}]`, `spec.scopes[1].name`},
		"a scope's name that is too long":    {`scopes: [{name: read}, {name: ` + long[:65] + `}]`, `spec.scopes[1].name`},
		"too many scopes":                    {`scopes: ` + many(65, "{name: s%d}"), `spec.scopes: there are 65 entries, and 64`},
		"an included scope that isn't there": {`scopes: [{name: read, includes: [read, more]}]`, `spec.scopes[0].includes[1]: the scope "more" is not declared`},
		"an included scope twice":            {`scopes: [{name: read}, {name: a, includes: [read, read]}]`, `spec.scopes[1].includes[1]: "read" is there twice`},
		"an empty list of included scopes":   {`scopes: [{name: read, includes: []}]`, `spec.scopes[0].includes: the list is empty`},

		"a credential's header with a space":        {`credentials: [{header: {name: "X Key"}}]`, `spec.credentials[0].header.name: "X Key"`},
		"a credential without a header":             {`credentials: [{header: {name: ""}}]`, `spec.credentials[0].header.name`},
		"a credential in a header that is too long": {`credentials: [{header: {name: ` + long[:65] + `}}]`, `spec.credentials[0].header.name`},
		"a credential's scheme with a space":        {`credentials: [{header: {name: X-Key, scheme: "A B"}}]`, `spec.credentials[0].header.scheme: "A B"`},
		"a credential in two cases":                 {`credentials: [{header: {name: X-Key}}, {header: {name: x-kEY}}]`, `spec.credentials[1].header.name: another credential has "x-kEY"`},
		"a credential in the Host":                  {`credentials: [{header: {name: Host}}]`, `"Host" belongs to the protocol`},
		"a credential in the request id":            {`credentials: [{header: {name: X-Request-Id}}]`, `"X-Request-Id" belongs`},
		"a credential in one of Envoy's headers":    {`credentials: [{header: {name: X-Envoy-Key}}]`, `"X-Envoy-Key" belongs`},
		"a credential in a forwarded header":        {`credentials: [{header: {name: X-Forwarded-Key}}]`, `"X-Forwarded-Key" belongs`},
		"a credential in an identity header":        {`credentials: [{header: {name: X-ApiKey-Scopes}}]`, `spec.credentials[0].header.name: "X-ApiKey-Scopes" tells`},
		"a credential in no place":                  {`credentials: [{header: {name: A}}, {}]`, `spec.credentials[1]: a credential is either`},
		"a credential in two places":                {`credentials: [{header: {name: A}, query: {name: a}}]`, `spec.credentials[0]: a credential is either`},
		"a query parameter twice":                   {`credentials: [{query: {name: a}}, {header: {name: a}}, {query: {name: a}}]`, `spec.credentials[2].query.name: another credential has "a"`},
		"a query parameter without a name":          {`credentials: [{query: {name: ""}}]`, `spec.credentials[0].query.name: ""`},
		"a query parameter with an escape":          {`credentials: [{query: {name: "a%5Fb"}}]`, `spec.credentials[0].query.name: "a%5Fb"`},
		"a query parameter with a plus":             {`credentials: [{query: {name: "a+b"}}]`, `spec.credentials[0].query.name: "a+b"`},
		"a query parameter that is too long":        {`credentials: [{query: {name: ` + long[:65] + `}}]`, `spec.credentials[0].query.name`},
		"an empty list of credentials":              {`credentials: []`, `spec.credentials: the list is empty`},
		"too many credentials":                      {`credentials: ` + many(9, "{header: {name: h%d}}"), `spec.credentials: there are 9 entries, and 8`},

		"an identity prefix without x-":              {`upstream: {prefix: caller-}`, `spec.upstream.prefix: "caller-"`},
		"an identity prefix without a hyphen behind": {`upstream: {prefix: x-caller}`, `spec.upstream.prefix`},
		"an identity prefix of Envoy's":              {`upstream: {prefix: x-envoy-key-}`, `spec.upstream.prefix: headers with "x-envoy-key-"`},
		"an identity prefix of forwarded headers":    {`upstream: {prefix: x-forwarded-}`, `spec.upstream.prefix: headers with "x-forwarded-"`},
		"an identity prefix that is too long":        {`upstream: {prefix: x-` + long[:62] + `-}`, `spec.upstream.prefix`},

		"an empty list of grants":                {`grants: []`, `spec.grants: the list is empty`},
		"too many grants":                        {`grants: ` + many(33, "{}"), `spec.grants: there are 33 entries, and 32`},
		"a granted scope that isn't there":       {`grants: [{}, {scopes: [read, more]}]`, `spec.grants[1].scopes[1]: the scope "more" is not declared`},
		"a granted scope twice":                  {`grants: [{scopes: [read, read]}]`, `spec.grants[0].scopes[1]: "read" is there twice`},
		"an empty list of granted scopes":        {`grants: [{scopes: []}]`, `spec.grants[0].scopes: the list is empty`},
		"a granted environment that isn't there": {`grants: [{environments: [live, test]}]`, `spec.grants[0].environments[1]: the environment "test" is not declared`},
		"a granted environment twice":            {`grants: [{environments: [live, live]}]`, `spec.grants[0].environments[1]: "live" is there twice`},
		"an empty list of granted environments":  {`grants: [{environments: []}]`, `spec.grants[0].environments: the list is empty`},
		"a granted life of nothing":              {`grants: [{maxTTL: 0s}]`, `spec.grants[0].maxTTL: 0s is not possible: write a duration of at least a second`},
		"a granted life below zero":              {`grants: [{}, {maxTTL: -1h}]`, `spec.grants[1].maxTTL: -1h0m0s is not possible`},
		"a granted life below a second":          {`grants: [{maxTTL: 999ms}]`, `spec.grants[0].maxTTL: 999ms is not possible`},
		"a selection without a selector":         {`grants: [{namespaces: {from: Selector}}]`, `spec.grants[0].namespaces.selector: selector goes with`},
		"a selector without a selection":         {`grants: [{namespaces: {from: All, selector: {}}}]`, `spec.grants[0].namespaces.selector: selector goes with`},
		"a selector with an unknown operator":    {`grants: [{namespaces: {from: Selector, selector: {matchExpressions: [{key: a, operator: Like}]}}}]`, `spec.grants[0].namespaces.selector: correct the label selector`},
		"a selector with a malformed label":      {`grants: [{namespaces: {from: Selector, selector: {matchLabels: {"a b": c}}}}]`, `spec.grants[0].namespaces.selector: correct the label selector`},
		"an unknown way to select namespaces":    {`grants: [{namespaces: {from: Some}}]`, `spec.grants[0].namespaces.from: "Some"`},

		"a content type without a slash":   {`errors: {contentType: json}`, `spec.errors.contentType: "json"`},
		"a content type that is too long":  {`errors: {contentType: a/` + long[:127] + `}`, `spec.errors.contentType`},
		"a content type with a line break": {`errors: {contentType: "a/b\nx: y"}`, `spec.errors.contentType`},
		"docs that are no URL":             {`errors: {docs: "javascript:alert(1)"}`, `spec.errors.docs: "javascript:alert(1)"`},
		"docs that are too long":           {`errors: {docs: "https://` + long[:505] + `"}`, `spec.errors.docs`},
		"an error header in upper case":    {`errors: {headers: [{name: X-A, value: b}]}`, `spec.errors.headers[0].name: "X-A"`},
		"an error header with a colon":     {`errors: {headers: [{name: ":status", value: b}]}`, `spec.errors.headers[0].name: ":status"`},
		"an error header that is too long": {`errors: {headers: [{name: ` + long[:65] + `, value: b}]}`, `spec.errors.headers[0].name`},
		"an error header of Keygate's":     {`errors: {headers: [{name: a, value: b}, {name: www-authenticate, value: b}]}`, `spec.errors.headers[1].name: "www-authenticate" is set by Keygate`},
		"an error header of Envoy's":       {`errors: {headers: [{name: x-envoy-a, value: b}]}`, `spec.errors.headers[0].name: "x-envoy-a" is set by Keygate`},
		"an error header twice":            {`errors: {headers: [{name: a, value: b}, {name: a, value: c}]}`, `spec.errors.headers[1].name: the header "a" is there twice`},
		"an error header of nothing":       {`errors: {headers: [{name: a, value: ""}]}`, `spec.errors.headers[0].value: ""`},
		"an error header of two lines":     {`errors: {headers: [{name: a, value: "b\r\nc"}]}`, `spec.errors.headers[0].value`},
		"an error header of other letters": {`errors: {headers: [{name: a, value: "é"}]}`, `spec.errors.headers[0].value`},
		"a value that is too long":         {`errors: {headers: [{name: a, value: ` + long[:513] + `}]}`, `spec.errors.headers[0].value`},
		"too many error headers":           {`errors: {headers: ` + many(17, "{name: h%d, value: v}") + `}`, `spec.errors.headers: there are 17 entries, and 16`},
		"a body for an unknown reason":     {`errors: {bodies: {forbidden: {}}}`, `spec.errors.bodies[forbidden]: no denial has this body`},
		"a body for an unknown status":     {`errors: {bodies: {"404": {}}}`, `spec.errors.bodies[404]: no denial has this body`},
		"a body for an allow":              {`errors: {bodies: {"200": {}}}`, `spec.errors.bodies[200]`},
		"an unknown placeholder":           {`errors: {bodies: {"401": {a: [{b: "x {reqId}"}]}}}`, `spec.errors.bodies[401]: {reqId} is not a placeholder: use {requestId}, {reason}, {message}, {docs}, {requiredScopes}, {requiredPlan}, {retryAfter}, {limit}, {keyId}`},
		"a body that is too long":          {`errors: {bodies: {default: ` + strings.Repeat("a", 16<<10-1) + `}}`, `spec.errors.bodies[default]: it has 16385 bytes`},
		"a body that nests too deep":       {`errors: {bodies: {default: ` + strings.Repeat("[", 33) + strings.Repeat("]", 33) + `}}`, `spec.errors.bodies[default]: it nests deeper than 32`},
	})
}

// refused is a spec that does not compile, and a part of the error.
type refused struct{ spec, want string }

// refuse tries each spec.
func refuse(t *testing.T, specs map[string]refused) {
	t.Helper()
	for name, c := range specs {
		t.Run(name, func(t *testing.T) {
			p, err := policy.Compile(source(t, c.spec))
			if err == nil {
				t.Fatal("compiled")
			}
			if p != nil {
				t.Error("a policy was returned beside the error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error does not say %q:\n%v", c.want, err)
			}
		})
	}
}

// The other side of each bound.
func TestCompileAccepts(t *testing.T) {
	long := strings.Repeat("a", 600)
	for name, spec := range map[string]string{
		"the minimum":                        ``,
		"the most hosts":                     `hosts: ` + many(32, "h%d.com"),
		"the longest host":                   `hosts: ["*.` + strings.Repeat("a", 251) + `"]`,
		"no hosts":                           `hosts: []`,
		"no scopes":                          "scopes: []\nrules: [{paths: [/], anyKey: true}]",
		"the most environments":              `environments: ` + many(16, `{name: e%d, prefix: "p%d."}`),
		"the longest prefix":                 `environments: [{name: a, prefix: ` + long[:32] + `}]`,
		"the least hex secret":               `keyFormat: {encoding: Hex, length: 32}`,
		"the least base62 secret":            `keyFormat: {encoding: Base62, length: 22}`,
		"the longest secret":                 `keyFormat: {encoding: Hex, length: 256}`,
		"the longest id":                     `keyFormat: {encoding: Hex, length: 32, idLength: 32}`,
		"the most scopes":                    `scopes: ` + many(63, "{name: s%d}")[:len(many(63, "{name: s%d}"))-1] + `, {name: read}]`,
		"any scope-token":                    `scopes: [{name: read}, {name: "!#[]~:read"}]`,
		"the most credentials":               `credentials: ` + many(8, "{header: {name: h%d}}"),
		"the longest query parameter":        `credentials: [{query: {name: ` + long[:64] + `}}]`,
		"places that differ in case or kind": `credentials: [{query: {name: a}}, {query: {name: A}}, {header: {name: a}}]`,
		"the longest header":                 `credentials: [{header: {name: ` + long[:64] + `}}]`,
		"the shortest identity prefix":       `upstream: {prefix: x-a-}`,
		"a header with the identity prefix":  `credentials: [{header: {name: X-ApiKey-Token}}]`,
		"a granted life of a second":         `grants: [{maxTTL: 1s}]`,
		"the most grants":                    `grants: ` + many(32, "{}"),
		"a parameter of the content type":    `errors: {contentType: application/json; charset=utf-8}`,
		"the most error headers":             `errors: {headers: ` + many(16, "{name: h%d, value: v}") + `}`,
		"the longest error header":           `errors: {headers: [{name: ` + long[:64] + `, value: "` + long[:512] + `"}]}`,
		"docs":                               `errors: {docs: "https://example.com/a?b=c&d#e"}`,
		"the longest body":                   `errors: {bodies: {default: ` + strings.Repeat("a", 16<<10-2) + `}}`,
		"the deepest body":                   `errors: {bodies: {default: ` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}}`,
		"braces around no name":              `errors: {bodies: {default: "{} { } {1} {a-b} {a b} {a.b} {{ }} {"}}`,
		"every key of bodies":                `errors: {bodies: {malformed_request: 1, missing_key: 1, malformed_key: 1, invalid_key: 1, address_denied: 1, insufficient_scope: 1, no_policy: 1, no_rule: 1, tls_required: 1, plan_required: 1, rate_limited: 1, unavailable: 1, "429": 1, "400": 1, "401": 1, "403": 1, "503": 1, default: 1}}`,
		"the most rules":                     `rules: ` + many(128, `{paths: ["/%d"], anyKey: true}`),
		"the most paths":                     `rules: [{anyKey: true, paths: ` + many(16, `"/%d"`) + `}]`,
		"the most methods":                   `rules: [{anyKey: true, paths: [/], methods: [` + letters(16) + `]}]`,
		"the longest method":                 `rules: [{anyKey: true, paths: [/], methods: [` + strings.Repeat("A", 32) + `]}]`,
		"the longest path":                   `rules: [{anyKey: true, paths: [/` + long[:255] + `]}]`,
		"the longest base path":              `basePath: /` + long[:255],
		"the longest message":                `rules: [{paths: ["/"], scopes: [read], message: ` + long[:512] + `}]`,
		"the longest message, in characters": `rules: [{paths: ["/"], scopes: [read], message: ` + strings.Repeat("é", 512) + `}]`,
		"the most scopes in a rule": "scopes: " + many(16, "{name: s%d}") + `
rules: [{paths: ["/"], scopes: ` + many(16, "s%d") + "}]",
		"a path with other methods in another rule": `rules: [{paths: [/a], methods: [GET], anyKey: true}, {paths: [/a], methods: [PUT], anyKey: true}, {paths: [/a], anyKey: true}]`,
		"a path that is another with a slash":       `rules: [{paths: [/a], anyKey: true}, {paths: [/a/], anyKey: true}, {paths: ["/a/{rest...}"], anyKey: true}]`,
		"scopes that include each other":            `scopes: [{name: read, includes: [write]}, {name: write, includes: [read]}]`,
		"dots in a segment":                         `rules: [{paths: ["/a.b/...", "/.well-known"], anyKey: true}]`,
	} {
		t.Run(name, func(t *testing.T) { compile(t, spec) })
	}
}

func TestCompileRefusesNames(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*policy.Source)
		want  string
	}{
		"no namespace":                   {func(s *policy.Source) { s.Namespace = "" }, `metadata.namespace: ""`},
		"a namespace with a dot":         {func(s *policy.Source) { s.Namespace = "a.b" }, `metadata.namespace: "a.b"`},
		"a namespace that is too long":   {func(s *policy.Source) { s.Namespace = strings.Repeat("a", 64) }, `metadata.namespace`},
		"no name":                        {func(s *policy.Source) { s.Name = "" }, `metadata.name: ""`},
		"a name that breaks a challenge": {func(s *policy.Source) { s.Name = `a"b` }, `metadata.name: "a\"b"`},
		"a name that is too long":        {func(s *policy.Source) { s.Name = strings.Repeat("a", 254) }, `metadata.name`},
		"no uid":                         {func(s *policy.Source) { s.UID = "" }, `metadata.uid`},
	} {
		t.Run(name, func(t *testing.T) {
			src := source(t, "")
			c.spoil(src)
			if _, err := policy.Compile(src); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error does not say %q: %v", c.want, err)
			}
		})
	}
}

func TestCompileTellsAllProblems(t *testing.T) {
	_, err := policy.Compile(source(t, `
hosts: [A]
scopes: [{name: read, includes: [x]}]
grants: [{scopes: [y]}]
rules: [{paths: ["/"], scopes: [z]}]
`))
	if err == nil {
		t.Fatal("compiled")
	}
	for _, want := range []string{"spec.hosts[0]", "spec.scopes[0].includes[0]", "spec.grants[0].scopes[0]", "spec.rules[0].scopes[0]"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %s:\n%v", want, err)
		}
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines != 4 {
		t.Errorf("%d lines for 4 problems:\n%v", lines, err)
	}
}

// A list without bounds costs no more than its first problem.
func TestCompileDoesNotReadListsThatAreTooLong(t *testing.T) {
	for name, spec := range map[string]string{
		"environments": `environments: ` + many(17, "{name: A, prefix: x}"),
		"scopes":       `scopes: ` + many(65, "{name: read}") + "\nrules: [{paths: [/], anyKey: true}]",
		"grants":       `grants: ` + many(33, "{scopes: [more]}"),
		"credentials":  `credentials: ` + many(9, "{header: {name: Host}}"),
		"rules":        `rules: ` + many(129, "{paths: [a]}"),
		"paths":        `rules: [{anyKey: true, paths: ` + many(17, "a") + `}]`,
		"methods":      `rules: [{anyKey: true, paths: [/], methods: ` + many(17, "GET") + `}]`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := policy.Compile(source(t, spec))
			if err == nil {
				t.Fatal("compiled")
			}
			if first, more, _ := strings.Cut(err.Error(), "\n"); !strings.Contains(first, "at the most are possible") || strings.Contains(more, name) {
				t.Errorf("%v", err)
			}
		})
	}
}

// What can't be read is not read further: one sentence for each is enough.
func TestCompileTellsEachProblemOnce(t *testing.T) {
	for name, c := range map[string]struct {
		spec     string
		problems int
	}{
		"a path":              {`rules: [{paths: ["/a;b"], anyKey: true}]`, 1},
		"two paths":           {`rules: [{paths: ["/a/..", "/b/.."], anyKey: true}]`, 2},
		"the base path":       {`basePath: "/a;b"`, 1},
		"a rule's base path":  {`rules: [{basePath: "/a/..", paths: ["/", "/a"], anyKey: true}]`, 1},
		"a scope":             {`scopes: [{name: read}, {name: ""}]`, 1},
		"a body":              {`errors: {bodies: {"401": "{foo}"}}`, 1},
		"a credential's name": {`credentials: [{header: {name: "a b"}}]`, 1},
	} {
		_, err := policy.Compile(source(t, c.spec))
		if err == nil || strings.Count(err.Error(), "\n")+1 != c.problems {
			t.Errorf("%s: want %d problems: %v", name, c.problems, err)
		}
	}
}

func TestCompileNamesThePolicy(t *testing.T) {
	p := compile(t, "")
	if diff := cmp.Diff(apikey.Ref{Namespace: "platform", Name: "stepsies", UID: "a-uid"}, p.Ref()); diff != "" {
		t.Errorf("ref (-want +got):\n%s", diff)
	}
	if got := p.String(); got != "platform/stepsies" {
		t.Errorf("name %q", got)
	}
}
