package policy_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/pkg/policy"
)

// product is one sample, less what other tests say of it.
type product struct {
	host string
	// tls: plain HTTP is turned away.
	tls bool
	// tokens maps environment → what its tokens look like, x for a secret's character
	// and i for an id's.
	tokens   map[string]string
	requests []string
	// keys maps a key's scopes and plan, "scope scope/plan" → which of requests it may
	// make.
	keys map[string]string
}

var products = map[string]product{
	"stairoids.yaml": {
		host: "api.stairoids.com", tokens: map[string]string{"live": "sk_live_" + strings.Repeat("x", 32)},
		requests: []string{"GET /v1", "GET /v1/accounts", "POST /v1/signals", "PUT /v1/a/b", "PATCH /v1/accounts/1", "DELETE /v1/accounts/1", "HEAD /v1/accounts", "OPTIONS /v1/accounts", "GET /accounts", "GET /v1x"},
		keys: map[string]string{
			"/":           "",
			"read-only/":  "GET /v1, GET /v1/accounts",
			"read-write/": "GET /v1, GET /v1/accounts, POST /v1/signals, PUT /v1/a/b, PATCH /v1/accounts/1, DELETE /v1/accounts/1",
		},
	},
	"stairoids-simple.yaml": {
		host: "stairoids.example.com", tokens: map[string]string{"live": "sk_live_" + strings.Repeat("x", 32)},
		requests: []string{"GET /v1/accounts", "POST /v1/signals", "PATCH /a", "DELETE /a", "PUT /a", "HEAD /", "OPTIONS /a"},
		keys: map[string]string{
			"/":           "",
			"read/":       "GET /v1/accounts",
			"write/":      "POST /v1/signals, PATCH /a, DELETE /a",
			"read write/": "GET /v1/accounts, POST /v1/signals, PATCH /a, DELETE /a",
			"read_write/": "GET /v1/accounts, POST /v1/signals, PATCH /a, DELETE /a, PUT /a, HEAD /, OPTIONS /a",
		},
	},
	"signalstack.yaml": {
		host: "signal-stack-ten.vercel.app",
		tokens: map[string]string{
			"live": "ssk_live_iiiiii_" + strings.Repeat("x", 48),
			"test": "ssk_test_iiiiii_" + strings.Repeat("x", 48),
		},
		requests: []string{"POST /v1/verify/claim", "POST /v1/verify/media", "GET /v1/verify/claim", "POST /verify/claim", "POST /v1/verify"},
		keys: map[string]string{
			"/":          "POST /v1/verify/claim",
			"/sandbox":   "POST /v1/verify/claim",
			"/developer": "POST /v1/verify/claim",
			"/business":  "POST /v1/verify/claim, POST /v1/verify/media",
		},
	},
	"workspace.yaml": {
		host: "workspace.example.com", tls: true, tokens: map[string]string{"live": "wk_" + strings.Repeat("x", 40)},
		requests: []string{
			"GET /v1/users", "HEAD /v1/users", "POST /v1/users", "PATCH /v1/projects/1", "PUT /v1/records/1", "DELETE /v1/records/1",
			"GET /v1/team", "POST /v1/team/members", "GET /v1/billing/", "PUT /v1/billing/plan", "GET /v1/keys", "DELETE /v1/keys/1", "GET /v1/teams", "GET /users",
		},
		keys: map[string]string{
			"/":                        "",
			"read:all/standard":        "GET /v1/users, HEAD /v1/users, GET /v1/teams",
			"write:all/standard":       "POST /v1/users, PATCH /v1/projects/1, PUT /v1/records/1",
			"read:all write:all/scale": "GET /v1/users, HEAD /v1/users, POST /v1/users, PATCH /v1/projects/1, PUT /v1/records/1, GET /v1/teams",
			"admin/standard":           "GET /v1/users, HEAD /v1/users, POST /v1/users, PATCH /v1/projects/1, PUT /v1/records/1, DELETE /v1/records/1, GET /v1/team, POST /v1/team/members, GET /v1/billing/, PUT /v1/billing/plan, GET /v1/keys, DELETE /v1/keys/1, GET /v1/teams",
		},
	},
}

func TestProducts(t *testing.T) {
	for name, c := range products {
		t.Run(name, func(t *testing.T) {
			p := sample(t, name)
			if hosts := readSample(t, name).policy.Spec.Hosts; len(hosts) != 1 || string(hosts[0]) != c.host {
				t.Errorf("hosts %v, want %s", hosts, c.host)
			}
			if diff := cmp.Diff([]policy.Credential{{Header: "authorization", Scheme: "bearer"}}, p.Credentials()); diff != "" {
				t.Errorf("credentials (-want +got):\n%s", diff)
			}
			if p.RequireTLS() != c.tls || p.AllowPreflight() || p.FailOpen() {
				t.Errorf("TLS %v, preflight %v, fail open %v", p.RequireTLS(), p.AllowPreflight(), p.FailOpen())
			}
			for environment, want := range c.tokens {
				format, _ := p.Format(environment)
				got := format.Prefix + strings.Repeat("i", format.IDLength)
				if format.IDLength > 0 {
					got += "_"
				}
				if got += strings.Repeat("x", format.Length); got != want {
					t.Errorf("tokens of %s: %s, want %s", environment, got, want)
				}
			}
			for key, want := range c.keys {
				if diff := cmp.Diff(want, strings.Join(allowed(t, p, key, c.requests), ", ")); diff != "" {
					t.Errorf("%s (-want +got):\n%s", key, diff)
				}
			}
		})
	}
}

// allowed are those of requests that a key, "scope scope/plan", may make.
func allowed(t *testing.T, p *policy.Policy, key string, requests []string) (out []string) {
	t.Helper()
	scopes, plan, _ := strings.Cut(key, "/")
	set := p.ScopeSet(strings.Fields(scopes))
	for _, request := range requests {
		method, path, _ := strings.Cut(request, " ")
		rule := p.Match(method, path)
		if rule != nil && rule.Anonymous {
			t.Errorf("%s is open to everybody", request)
		}
		if rule != nil && rule.Permits(set) && rule.PermitsPlan(p, plan) {
			out = append(out, request)
		}
	}
	return out
}

// The bodies of the products' pages, as JSON.
func TestProductBodies(t *testing.T) {
	values := policy.Values{RequestID: "01HXYZ1234ABCDEF", KeyID: "0123456789abcdef", RetryAfter: 1800, Limit: "100"}
	for name, c := range map[string]struct {
		sample, request string
		reason          policy.Reason
		want            string
	}{
		"Stairoids, no key":          {"stairoids.yaml", "GET /v1/accounts", policy.MissingKey, `{"error":"unauthorized","message":"Missing or invalid API key. Provide a valid Bearer token in the Authorization header.","request_id":"req_01HXYZ1234ABCDEF"}`},
		"Stairoids, an invalid key":  {"stairoids.yaml", "GET /v1/accounts", policy.InvalidKey, `{"error":"unauthorized","message":"Missing or invalid API key. Provide a valid Bearer token in the Authorization header.","request_id":"req_01HXYZ1234ABCDEF"}`},
		"Stairoids, no write access": {"stairoids.yaml", "POST /v1/signals", policy.InsufficientScope, `{"error":"forbidden","message":"This API key does not have write access. Generate a Read-Write key to perform this operation.","request_id":"req_01HXYZ1234ABCDEF"}`},
		"Stairoids, no access":       {"stairoids.yaml", "GET /v1/accounts", policy.InsufficientScope, `{"error":"forbidden","message":"The API key lacks a scope that this request needs.","request_id":"req_01HXYZ1234ABCDEF"}`},
		"Stairoids, no route":        {"stairoids.yaml", "HEAD /v1/accounts", policy.NoRule, `{"error":"forbidden","message":"This path and method are not open to callers.","request_id":"req_01HXYZ1234ABCDEF"}`},
		"Stairoids, down":            {"stairoids.yaml", "GET /v1/accounts", policy.Unavailable, `{"error":"unavailable","message":"The request could not be judged. Try again in a few seconds.","request_id":"req_01HXYZ1234ABCDEF"}`},
		"short Stairoids, no key":    {"stairoids-simple.yaml", "GET /", policy.MalformedKey, `{"error":{"code":"unauthorized","message":"Missing or malformed API key"}}`},
		"short Stairoids, no scope":  {"stairoids-simple.yaml", "GET /", policy.InsufficientScope, `{"error":{"code":"forbidden","message":"Insufficient scope"}}`},
		"SignalStack, no key":        {"signalstack.yaml", "POST /v1/verify/claim", policy.MissingKey, `{"error":{"code":"UNAUTHORIZED","message":"Invalid or missing API key. Provide a valid key via the Authorization header.","docs":"https://signal-stack-ten.vercel.app/docs/guides/authentication"}}`},
		"SignalStack, no plan":       {"signalstack.yaml", "POST /v1/verify/media", policy.PlanRequired, `{"error":{"code":"FORBIDDEN","message":"This API key does not have access to the media verification endpoint.","required_plan":"business"}}`},
		"SignalStack, no route":      {"signalstack.yaml", "GET /v1/x", policy.NoRule, `{"error":{"code":"FORBIDDEN","message":"This path and method are not open to callers."}}`},
		"SignalStack, too many":      {"signalstack.yaml", "POST /v1/verify/claim", policy.RateLimited, `{"error":{"code":"RATE_LIMITED","message":"This API key has used its 100 requests. Try again in 1800 seconds.","docs":"https://signal-stack-ten.vercel.app/docs/guides/authentication"}}`},
		"Stepsies, no key":           {"stepsies.yaml", "GET /v1/stepsies", policy.MissingKey, `{"error":{"code":"unauthorized","message":"Missing or invalid API key"}}`},
		"Stepsies, no scope":         {"stepsies.yaml", "POST /v1/stepsies", policy.InsufficientScope, `{"error":{"code":"forbidden","message":"Insufficient scope for this action"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			p := sample(t, c.sample)
			method, path, _ := strings.Cut(c.request, " ")
			d := p.Denial(c.reason, p.Match(method, path))
			var want any
			if err := json.Unmarshal([]byte(c.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, body(t, d, values)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if d.ContentType != "application/json" || d.Status != c.reason.Status() {
				t.Errorf("%d, %q", d.Status, d.ContentType)
			}
		})
	}
}

// The statuses and errors of the workspace's table.
func TestWorkspaceTitles(t *testing.T) {
	p := sample(t, "workspace.yaml")
	for reason, want := range map[policy.Reason]string{
		policy.MissingKey: "Unauthorized", policy.MalformedKey: "Unauthorized", policy.InvalidKey: "Unauthorized",
		policy.InsufficientScope: "Forbidden", policy.TLSRequired: "Forbidden", policy.RateLimited: "Too Many Requests",
	} {
		d := p.Denial(reason, p.Match("GET", "/v1/users"))
		if got := body(t, d, policy.Values{RetryAfter: 1}).(map[string]any); got["title"] != want || got["status"] != float64(reason.Status()) {
			t.Errorf("%s: %v", reason, got)
		}
	}
}

func TestProductLimits(t *testing.T) {
	hour := func(requests int64) policy.Limit { return policy.Limit{Requests: requests, Per: time.Hour} }
	second := func(requests int64) policy.Limit { return policy.Limit{Requests: requests, Per: time.Second} }
	for name, c := range map[string]struct {
		sample, environment, asked string
		want                       []policy.Limit
		refused                    bool
	}{
		"SignalStack, test":                      {"signalstack.yaml", "test", "", []policy.Limit{hour(100)}, false},
		"SignalStack, test, whatever it asks":    {"signalstack.yaml", "test", "business", []policy.Limit{hour(100)}, true},
		"SignalStack, live":                      {"signalstack.yaml", "live", "", []policy.Limit{hour(1000)}, false},
		"SignalStack, live, depends on the plan": {"signalstack.yaml", "live", "business", []policy.Limit{second(20), hour(20000)}, false},
		"workspace":                              {"workspace.yaml", "live", "", []policy.Limit{second(10), hour(1000)}, false},
		"workspace, per plan":                    {"workspace.yaml", "live", "scale", []policy.Limit{second(100), hour(50000)}, false},
		"Stairoids":                              {"stairoids.yaml", "live", "", nil, false},
		"short Stairoids":                        {"stairoids-simple.yaml", "live", "", nil, false},
		"Stepsies":                               {"stepsies.yaml", "live", "", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := sample(t, c.sample)
			plan, ok := p.Plan(c.environment, c.asked)
			if ok == c.refused {
				t.Errorf("plan %q, %v", plan, ok)
			}
			if diff := cmp.Diff(c.want, p.Limits(plan)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Each sample's keys are granted all that they ask for, together: the labels of the
// namespaces are the same in each file, so that none takes another's away.
func TestSamplesGrantTheirKeys(t *testing.T) {
	files, err := filepath.Glob("../../config/samples/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d samples: %v", len(files), err)
	}
	var labels map[string]string
	names := map[string]string{} // name of a key → its sample
	for _, file := range files {
		s := readSample(t, filepath.Base(file))
		if labels == nil {
			labels = s.labels["acme"]
		}
		if diff := cmp.Diff(labels, s.labels["acme"]); diff != "" {
			t.Errorf("%s labels acme otherwise (-first +this):\n%s", file, diff)
		}
		if len(s.keys) == 0 {
			t.Errorf("%s has no key", file)
		}
		p := sample(t, filepath.Base(file))
		for _, key := range s.keys {
			if other := names[key.Name]; other != "" {
				t.Errorf("%s and %s both have a key %s", other, file, key.Name)
			}
			names[key.Name] = file
			ref := key.Spec.PolicyRef
			if key.Namespace != "acme" || ref.Namespace+"/"+ref.Name != p.String() {
				t.Errorf("%s: the key %s of %s is for %s/%s", file, key.Name, key.Namespace, ref.Namespace, ref.Name)
			}
			var scopes []string
			for _, scope := range key.Spec.Scopes {
				scopes = append(scopes, string(scope))
			}
			environment := key.Spec.Environment
			if environment == "" {
				environment = p.DefaultEnvironment()
			}
			plan, ok := p.Plan(environment, string(key.Spec.Plan))
			got := p.Granted(policy.GrantNamespace{Name: "acme", Labels: labels}, policy.GrantRequest{Environment: environment, Plan: plan, Scopes: scopes})
			if !ok || !got.Known || !got.EnvironmentGranted || !got.PlanGranted || len(got.Missing) > 0 {
				t.Errorf("%s: the key %s is granted %+v", file, key.Name, got)
			}
			if got := p.Granted(policy.GrantNamespace{Name: "other"}, policy.GrantRequest{Environment: environment, Plan: plan, Scopes: scopes}); got.Known {
				t.Errorf("%s: anybody is granted keys", file)
			}
		}
	}
}
