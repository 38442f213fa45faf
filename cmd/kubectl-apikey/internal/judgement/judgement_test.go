package judgement

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/policy"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// entry compiles a policy.
func entry(t testing.TB, name, text string) (policy.Entry, *policy.Policy) {
	t.Helper()
	source := &policy.Source{Namespace: "platform", Name: name, UID: name, ClaimsHosts: true}
	if err := yaml.UnmarshalStrict([]byte(text), &source.Spec); err != nil {
		t.Fatal(err)
	}
	p, err := policy.Compile(source)
	if err != nil {
		t.Fatal(err)
	}
	return policy.NewEntry(source, p), p
}

const api = `
hosts: [api.example.com]
requireTLS: true
environments: [{name: live, prefix: sk_}]
scopes: [{name: read}, {name: write}]
plans: [{name: free, limits: [{requests: 1, per: 1h}]}, {name: gold}]
defaultPlan: free
rules:
- {methods: [GET], paths: ["/things"], scopes: [read]}
- {methods: [POST], paths: ["/things"], scopes: [write]}
- {methods: [PUT], paths: ["/things"], anyKey: true, plan: gold}
- {paths: ["/health"], anonymous: true}
`

// TestJudge: the verdict is extauthz's own over what the status says.
func TestJudge(t *testing.T) {
	mine, p := entry(t, "mine", api)
	other, _ := entry(t, "other", `{hosts: [other.example.com], environments: [{name: live, prefix: ok_}], rules: [{paths: ["/{rest...}"], anyKey: true}]}`)
	query, q := entry(t, "query", `{environments: [{name: live, prefix: qk_}], plans: [{name: free}], credentials: [{query: {name: k}}], scopes: [{name: read}], rules: [{paths: ["/a"], scopes: [read]}]}`)
	bare, b := entry(t, "bare", `{environments: [{name: live, prefix: bk_}], plans: [{name: free}], credentials: [{header: {name: X-Key}}], scopes: [{name: read}], rules: [{paths: ["/a"], scopes: [read]}]}`)
	table := policy.NewTable([]policy.Entry{mine, other, query, bare})
	key := func(change func(*v1alpha1.APIKey)) *v1alpha1.APIKey {
		k := &v1alpha1.APIKey{}
		k.Namespace, k.Name, k.UID = "acme", "ci", "u"
		k.Status = v1alpha1.APIKeyStatus{
			Environment: "live", Scopes: []v1alpha1.ScopeName{"read"}, Plan: "free",
			Keys: []v1alpha1.IssuedKey{{ID: "1", Serial: 2, State: "Active"}, {ID: "0", Serial: 1, State: "Rotated"}},
		}
		if change != nil {
			change(k)
		}
		return k
	}
	for name, tc := range map[string]struct {
		change  func(*v1alpha1.APIKey)
		of      *policy.Policy
		request Request
		reason  string
		detail  string
		rule    int
	}{
		"may":                     {nil, p, Request{Method: "GET", Path: "/things"}, "allowed", "", 0},
		"may, with a query":       {nil, p, Request{Method: "GET", Path: "/things?a=b"}, "allowed", "", 0},
		"may not":                 {nil, p, Request{Method: "POST", Path: "/things"}, "insufficient_scope", "", 1},
		"lacks the plan":          {nil, p, Request{Method: "PUT", Path: "/things"}, "plan_required", "", 2},
		"no rule":                 {nil, p, Request{Method: "DELETE", Path: "/things"}, "no_rule", "", -1},
		"anybody":                 {nil, p, Request{Method: "GET", Path: "/health"}, "anonymous", "", 3},
		"malformed":               {nil, p, Request{Method: "GET", Path: "//things"}, "malformed_request", "path", -1},
		"without TLS":             {nil, p, Request{Method: "GET", Path: "/things", Plain: true}, "tls_required", "", -1},
		"by its host":             {nil, p, Request{Method: "GET", Path: "/things", Host: "API.example.com:443"}, "allowed", "", 0},
		"by another's host":       {nil, p, Request{Method: "GET", Path: "/things", Host: "other.example.com"}, "invalid_key", "wrong_policy", 0},
		"by nobody's host":        {nil, p, Request{Method: "GET", Path: "/things", Host: "example.com"}, "no_policy", "", -1},
		"in a parameter":          {nil, q, Request{Method: "GET", Path: "/a"}, "allowed", "", 0},
		"in a parameter, too":     {nil, q, Request{Method: "GET", Path: "/a?b=c"}, "allowed", "", 0},
		"in a header":             {nil, b, Request{Method: "GET", Path: "/a"}, "allowed", "", 0},
		"no token":                {func(k *v1alpha1.APIKey) { k.Status.Keys = nil }, p, Request{Method: "GET", Path: "/things"}, "invalid_key", "unknown", 0},
		"suspended":               {func(k *v1alpha1.APIKey) { k.Status.Keys[0].State = "Suspended" }, p, Request{Method: "GET", Path: "/things"}, "invalid_key", "suspended", 0},
		"a state of the future":   {func(k *v1alpha1.APIKey) { k.Status.Keys[0].State = "Frozen" }, p, Request{Method: "GET", Path: "/things"}, "invalid_key", "state", 0},
		"the new one is not here": {func(k *v1alpha1.APIKey) { k.Status.Keys[0].State, k.Status.Keys[1].State = "Pending", "Active" }, p, Request{Method: "GET", Path: "/things"}, "allowed", "", 0},
		"expires now":             {func(k *v1alpha1.APIKey) { k.Status.ExpiresAt = &metav1.Time{Time: now} }, p, Request{Method: "GET", Path: "/things"}, "invalid_key", "expired", 0},
		"expires soon":            {func(k *v1alpha1.APIKey) { k.Status.ExpiresAt = &metav1.Time{Time: now.Add(time.Second)} }, p, Request{Method: "GET", Path: "/things"}, "allowed", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			v := Judge(t.Context(), table, tc.of, key(tc.change), tc.request, now)
			rule := -1
			if v.Rule != nil {
				rule = v.Rule.Index
			}
			if string(v.Reason) != tc.reason || string(v.Detail) != tc.detail || rule != tc.rule {
				t.Errorf("%s %s by rule %d, want %s %s by rule %d", v.Reason, v.Detail, rule, tc.reason, tc.detail, tc.rule)
			}
			if want := tc.reason == "allowed" || tc.reason == "anonymous"; v.Allow != want {
				t.Errorf("allow is %v", v.Allow)
			}
		})
	}
}
