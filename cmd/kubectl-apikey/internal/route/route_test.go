package route

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/policy"
)

// compile compiles a policy with these rules and whatever else.
func compile(t testing.TB, text string) (*v1alpha1.APIKeyPolicySpec, *policy.Policy) {
	t.Helper()
	source := &policy.Source{Namespace: "platform", Name: "p", UID: "u"}
	if err := yaml.UnmarshalStrict([]byte("environments: [{name: live, prefix: sk_}]\nscopes: [{name: read}, {name: write}]\n"+text), &source.Spec); err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(source)
	if err != nil {
		t.Fatal(err)
	}
	return &source.Spec, p
}

// rules are a policy's with a bit of everything.
const rules = `
basePath: /v1
hosts: ["*.example.com", api.example.com]
plans: [{name: gold}]
rules:
- {methods: [GET], paths: ["/things/{id}", "/things"], scopes: [read]}
- {methods: [POST, PUT], paths: ["/things"], scopes: [read, write]}
- {paths: ["/things/{id}/{rest...}"], anyKey: true, cost: 0}
- {basePath: /, paths: ["/health"], anonymous: true}
- {paths: ["/things"], anyScope: [write], plan: gold}
- {paths: ["/{rest...}"], anyKey: true, cost: 5}
`

// TestSamples: every rule has a request that it decides.
func TestSamples(t *testing.T) {
	spec, p := compile(t, rules)
	var got []string
	for _, s := range Samples(spec, p) {
		got = append(got, fmt.Sprintf("%d %s %s %v", s.Rule, s.Method, s.Path, s.Plain))
		if p.Match(s.Method, s.Path) != s.Compiled {
			t.Errorf("%s %s is decided by another rule", s.Method, s.Path)
		}
	}
	want := []string{ // {rest...} may be nothing, but that is the first rule's
		"0 GET /v1/things/1 false", "1 POST /v1/things true", "1 PUT /v1/things true", "2 GET /v1/things/1/1 false",
		"3 GET /health true", "4 DELETE /v1/things true", "5 GET /v1 false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestShadowed: a rule whose path another one decides shows its next path, or nothing.
func TestShadowed(t *testing.T) {
	spec, p := compile(t, `rules: [{paths: ["/1"], anyKey: true}, {paths: ["/{a}", "/x/{b}"], scopes: [read]}, {methods: [GET], paths: ["/1"], scopes: [write]}]`)
	var got []string
	for _, s := range Samples(spec, p) {
		got = append(got, fmt.Sprint(s.Rule, s.Method, s.Path))
	}
	if diff := cmp.Diff([]string{"0POST/1", "1GET/x/1", "2GET/1"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestChoices(t *testing.T) {
	spec, p := compile(t, rules)
	samples := Samples(spec, p)
	for name, tc := range map[string]struct {
		key  Key
		want string
	}{
		"may read":  {Key{Environment: "live", Scopes: []string{"read"}}, "GET /v1/things/1"},
		"may both":  {Key{Environment: "live", Scopes: []string{"read", "write"}}, "GET /v1/things/1"},
		"no scopes": {Key{Environment: "live"}, "GET /v1/things/1/1"},
	} {
		if got, ok := ToShow(samples, p, tc.key); !ok || got.Method+" "+got.Path != tc.want {
			t.Errorf("%s: shows %s %s", name, got.Method, got.Path)
		}
	}
	if got, ok := ToAsk(samples); !ok || got.Rule != 2 {
		t.Errorf("asks with rule %d, which is counted", got.Rule)
	}
	spec, p = compile(t, `rules: [{paths: ["/a"], anyKey: true}, {paths: ["/b"], scopes: [read, write]}, {paths: ["/c"], scopes: [read]}, {paths: ["/d"], anyKey: true, cost: 3}]`)
	if got, ok := ToAsk(Samples(spec, p)); !ok || got.Path != "/b" {
		t.Errorf("asks with %s, where a denial costs nothing and is likeliest for /b", got.Path)
	}
	spec, p = compile(t, `rules: [{paths: ["/open"], anonymous: true}]`)
	if _, ok := ToAsk(Samples(spec, p)); ok {
		t.Error("asks with a request that needs no key")
	}
	if got, ok := ToShow(Samples(spec, p), p, Key{Environment: "live"}); !ok || got.Path != "/open" {
		t.Errorf("shows %s", got.Path)
	}
}

// TestPermits: limits are left aside, plans and scopes are not.
func TestPermits(t *testing.T) {
	spec, p := compile(t, rules)
	gold := Samples(spec, p)[5]
	for name, tc := range map[string]struct {
		key  Key
		want bool
	}{
		"scope and plan":  {Key{"live", "gold", []string{"write"}}, true},
		"no plan":         {Key{"live", "", []string{"write"}}, false},
		"an unknown plan": {Key{"live", "lead", []string{"write"}}, false},
		"no scope":        {Key{"live", "gold", nil}, false},
	} {
		if got := Permits(p, gold.Compiled, tc.key); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestCurl(t *testing.T) {
	for name, tc := range map[string]struct{ policy, want string }{
		"a bearer":     {``, `read -rs KEY && printf 'Authorization: Bearer %s' "$KEY" | curl -H @- https://HOST/a`},
		"a header":     {`credentials: [{header: {name: X-API-Key}}]`, `read -rs KEY && printf 'X-API-Key: %s' "$KEY" | curl -H @- https://HOST/a`},
		"a parameter":  {`credentials: [{query: {name: api_key}}]`, `read -rs KEY && printf 'url = "%s?api_key=%s"' https://HOST/a "$KEY" | curl -K -`},
		"a wild host":  {`hosts: ["*.example.com"]`, `read -rs KEY && printf 'Authorization: Bearer %s' "$KEY" | curl -H @- https://www.example.com/a`},
		"an odd path":  {`rules: [{methods: [DELETE], paths: ["/a'$(x)"], anyKey: true}]`, `read -rs KEY && printf 'Authorization: Bearer %s' "$KEY" | curl -X DELETE -H @- 'https://HOST/a'\''$(x)'`},
		"an odd query": {"rules: [{paths: [\"/%25%7B\"], anyKey: true}]\ncredentials: [{query: {name: k}}]", `read -rs KEY && printf 'url = "%s?k=%s"' https://HOST/%25%7B "$KEY" | curl -K -`},
	} {
		t.Run(name, func(t *testing.T) {
			text := tc.policy
			if !strings.Contains(text, "rules:") {
				text += "\nrules: [{paths: [\"/a\"], anyKey: true}]"
			}
			spec, p := compile(t, text)
			got := Curl(spec, p, Samples(spec, p)[0])
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			runsOneCurl(t, got)
		})
	}
}

// runsOneCurl runs a line in bash with a curl that shows how it was called: with no
// key among its arguments, and with the key on standard input.
func runsOneCurl(t *testing.T, line string) {
	t.Helper()
	script := `curl() { echo "ARGS $*"; echo "STDIN $(cat)"; }; x() { echo INJECTED; }; ` + line
	cmd := exec.Command("bash", "-c", script)
	cmd.Stdin = strings.NewReader("sk_the_key\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	args, stdin, _ := strings.Cut(string(out), "\nSTDIN ")
	if strings.Contains(args, "sk_the_key") || !strings.Contains(stdin, "sk_the_key") || strings.Contains(string(out), "INJECTED") {
		t.Errorf("curl was called so:\n%s", out)
	}
}
