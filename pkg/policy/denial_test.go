package policy_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/pkg/policy"
)

// body is the body of a denial as a JSON value.
func body(tb testing.TB, d *policy.Denial, v policy.Values) any {
	tb.Helper()
	var out any
	text := d.AppendBody(nil, v)
	if err := json.Unmarshal(text, &out); err != nil {
		tb.Fatalf("%v in %s", err, text)
	}
	return out
}

// text is the body of a denial.
func text(d *policy.Denial, v policy.Values) string { return string(d.AppendBody(nil, v)) }

const twoScopes = `
scopes: [{name: read}, {name: write}, {name: other}]
rules:
- {paths: [/all], scopes: [write, read]}
- {paths: [/any], anyScope: [other, read]}
- {paths: [/key], anyKey: true}
- {paths: [/message], scopes: [write], message: "Ask for \"write\"."}
- {paths: [/plan], anyKey: true, plan: business}
- {paths: [/both], scopes: [write], plan: business, message: "Ask for more."}
plans: [{name: business}]
`

func TestProblemDocuments(t *testing.T) {
	p := compile(t, twoScopes)
	for name, c := range map[string]struct {
		reason policy.Reason
		path   string
		want   string
	}{
		"malformed_request":                   {policy.MalformedRequest, "", `{"type":"about:blank","title":"Bad Request","status":400,"detail":"The request is ambiguous and was not judged: send a plain path, one host and well-formed headers.","reason":"malformed_request","requestId":"r-1"}`},
		"missing_key":                         {policy.MissingKey, "/all", `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"This request needs an API key.","reason":"missing_key","requestId":"r-1"}`},
		"malformed_key":                       {policy.MalformedKey, "/all", `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The API key could not be read: send exactly one key, in the documented form.","reason":"malformed_key","requestId":"r-1"}`},
		"invalid_key":                         {policy.InvalidKey, "/all", `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The API key is not valid.","reason":"invalid_key","requestId":"r-1"}`},
		"all of two scopes":                   {policy.InsufficientScope, "/all", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"The API key lacks a scope that this request needs.","reason":"insufficient_scope","requestId":"r-1","requiredScopes":"write read"}`},
		"one of two scopes":                   {policy.InsufficientScope, "/any", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"The API key lacks a scope that this request needs.","reason":"insufficient_scope","requestId":"r-1","requiredScopes":"other read"}`},
		"a rule's message":                    {policy.InsufficientScope, "/message", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"Ask for \"write\".","reason":"insufficient_scope","requestId":"r-1","requiredScopes":"write"}`},
		"a rule's message is for scopes only": {policy.InvalidKey, "/message", `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"The API key is not valid.","reason":"invalid_key","requestId":"r-1"}`},
		"a scope without a rule":              {policy.InsufficientScope, "", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"The API key lacks a scope that this request needs.","reason":"insufficient_scope","requestId":"r-1"}`},
		"a scope where any key will do":       {policy.InsufficientScope, "/key", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"The API key lacks a scope that this request needs.","reason":"insufficient_scope","requestId":"r-1"}`},
		"tls_required":                        {policy.TLSRequired, "", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"This API is served over HTTPS only.","reason":"tls_required","requestId":"r-1"}`},
		"a plan":                              {policy.PlanRequired, "/plan", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"The API key's plan does not include this request.","reason":"plan_required","requestId":"r-1","requiredPlan":"business"}`},
		"a rule's message, for the plan":      {policy.PlanRequired, "/both", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"Ask for more.","reason":"plan_required","requestId":"r-1","requiredPlan":"business"}`},
		"a rule's message, for the scope":     {policy.InsufficientScope, "/both", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"Ask for more.","reason":"insufficient_scope","requestId":"r-1","requiredScopes":"write"}`},
		"a scope where only a plan is asked":  {policy.InsufficientScope, "/plan", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"The API key lacks a scope that this request needs.","reason":"insufficient_scope","requestId":"r-1"}`},
		"a plan without a rule":               {policy.PlanRequired, "", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"The API key's plan does not include this request.","reason":"plan_required","requestId":"r-1"}`},
		"a plan where none is asked":          {policy.PlanRequired, "/message", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"The API key's plan does not include this request.","reason":"plan_required","requestId":"r-1"}`},
		"rate_limited":                        {policy.RateLimited, "/both", `{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"The API key has made as many requests as its plan allows for now. Try again after the time that Retry-After gives.","reason":"rate_limited","requestId":"r-1","retryAfter":42,"limit":100}`},
		"no_policy":                           {policy.NoPolicy, "", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"No API is open to callers at this address.","reason":"no_policy","requestId":"r-1"}`},
		"no_rule":                             {policy.NoRule, "", `{"type":"about:blank","title":"Forbidden","status":403,"detail":"This path and method are not open to callers.","reason":"no_rule","requestId":"r-1"}`},
		"unavailable":                         {policy.Unavailable, "", `{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"The request could not be judged. Try again in a few seconds.","reason":"unavailable","requestId":"r-1"}`},
	} {
		t.Run(name, func(t *testing.T) {
			d := p.Denial(c.reason, p.Match("GET", c.path))
			if diff := cmp.Diff(c.want, text(d, policy.Values{RequestID: "r-1", KeyID: "0123456789abcdef", RetryAfter: 42, Limit: "100"})); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			if d.ContentType != "application/problem+json" || d.Status != c.reason.Status() {
				t.Errorf("%d, %q", d.Status, d.ContentType)
			}
		})
	}
}

func TestProblemDocumentVariants(t *testing.T) {
	t.Run("with docs", func(t *testing.T) {
		p := compile(t, `errors: {docs: "https://example.com/?a&b"}`)
		got := body(t, p.Denial(policy.NoRule, nil), policy.Values{RequestID: "r"}).(map[string]any)
		if got["docs"] != "https://example.com/?a&b" {
			t.Errorf("docs: %v", got["docs"])
		}
	})
	t.Run("with another content type", func(t *testing.T) {
		d := compile(t, `errors: {contentType: application/json}`).Denial(policy.NoRule, nil)
		if got := body(t, d, policy.Values{}).(map[string]any)["title"]; got != "Forbidden" || d.ContentType != "application/json" {
			t.Errorf("title %v, %s", got, d.ContentType)
		}
	})
	t.Run("rate limited, nobody knows for how long", func(t *testing.T) {
		want := `{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"The API key has made as many requests as its plan allows for now. Try again after the time that Retry-After gives.","reason":"rate_limited","requestId":"r"}`
		if diff := cmp.Diff(want, text(policy.GenericDenial(policy.RateLimited), policy.Values{RequestID: "r"})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
	t.Run("without a policy", func(t *testing.T) {
		d := policy.GenericDenial(policy.NoPolicy)
		want := `{"type":"about:blank","title":"Forbidden","status":403,"detail":"No API is open to callers at this address.","reason":"no_policy","requestId":"r"}`
		if diff := cmp.Diff(want, text(d, policy.Values{RequestID: "r"})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if d.Status != 403 || d.ContentType != "application/problem+json" {
			t.Errorf("%d, %q", d.Status, d.ContentType)
		}
	})
}

func TestChallenges(t *testing.T) {
	p := compile(t, twoScopes)
	type answer struct {
		challenge  string
		retryAfter int
	}
	for name, c := range map[string]struct {
		reason policy.Reason
		path   string
		want   answer
	}{
		"malformed_request": {policy.MalformedRequest, "", answer{"", 0}},
		"missing_key":       {policy.MissingKey, "/all", answer{`Bearer realm="stepsies"`, 0}},
		"malformed_key":     {policy.MalformedKey, "/all", answer{`Bearer realm="stepsies", error="invalid_token"`, 0}},
		"invalid_key":       {policy.InvalidKey, "/all", answer{`Bearer realm="stepsies", error="invalid_token"`, 0}},
		"all of two scopes": {policy.InsufficientScope, "/all", answer{`Bearer realm="stepsies", error="insufficient_scope", scope="write read"`, 0}},
		"one of two scopes": {policy.InsufficientScope, "/any", answer{`Bearer realm="stepsies", error="insufficient_scope", scope="other read"`, 0}},
		"a scope, no rule":  {policy.InsufficientScope, "", answer{`Bearer realm="stepsies", error="insufficient_scope"`, 0}},
		"no_policy":         {policy.NoPolicy, "", answer{"", 0}},
		"no_rule":           {policy.NoRule, "", answer{"", 0}},
		"tls_required":      {policy.TLSRequired, "", answer{"", 0}},
		"address_denied":    {policy.AddressDenied, "/both", answer{"", 0}},
		"plan_required":     {policy.PlanRequired, "/both", answer{"", 0}},
		"rate_limited":      {policy.RateLimited, "/both", answer{"", 0}},
		"unavailable":       {policy.Unavailable, "", answer{"", 5}},
	} {
		t.Run(name, func(t *testing.T) {
			d := p.Denial(c.reason, p.Match("GET", c.path))
			if got := (answer{d.Challenge, d.RetryAfter}); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
	t.Run("without a policy", func(t *testing.T) {
		if got := policy.GenericDenial(policy.MissingKey).Challenge; got != `Bearer realm="keygate"` {
			t.Errorf("challenge %q", got)
		}
		if got := policy.GenericDenial(policy.Unavailable).RetryAfter; got != 5 {
			t.Errorf("retry after %d", got)
		}
	})
}

func TestBodyIsChosenByReasonThenStatusThenDefault(t *testing.T) {
	for name, c := range map[string]struct {
		bodies string
		want   map[policy.Reason]string
	}{
		"all three": {`{invalid_key: a, "401": b, default: c}`, map[policy.Reason]string{
			policy.InvalidKey: `"a"`, policy.MissingKey: `"b"`, policy.MalformedKey: `"b"`, policy.NoRule: `"c"`, policy.Unavailable: `"c"`,
		}},
		"a reason and the default": {`{no_rule: a, default: c}`, map[policy.Reason]string{
			policy.NoRule: `"a"`, policy.NoPolicy: `"c"`, policy.InsufficientScope: `"c"`,
		}},
		"a status of one reason": {`{"429": b, default: c}`, map[policy.Reason]string{
			policy.RateLimited: `"b"`, policy.PlanRequired: `"c"`,
		}},
		"a status of several reasons": {`{"403": b}`, map[policy.Reason]string{
			policy.NoRule: `"b"`, policy.NoPolicy: `"b"`, policy.InsufficientScope: `"b"`, policy.TLSRequired: `"b"`, policy.PlanRequired: `"b"`,
			policy.AddressDenied: `"b"`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, "errors: {bodies: "+c.bodies+"}")
			for reason, want := range c.want {
				if got := text(p.Denial(reason, p.Match("GET", "/")), policy.Values{}); got != want {
					t.Errorf("%s: %s, want %s", reason, got, want)
				}
			}
		})
	}
	t.Run("nothing fits", func(t *testing.T) {
		p := compile(t, `errors: {bodies: {"401": x}}`)
		if got := body(t, p.Denial(policy.NoRule, nil), policy.Values{}).(map[string]any)["reason"]; got != "no_rule" {
			t.Errorf("reason %v", got)
		}
	})
}

func TestDenialsOfRulesAreTheirOwn(t *testing.T) {
	p := compile(t, `
rules:
- {paths: [/a], scopes: [read], message: A}
- {paths: [/b], scopes: [write], message: A}
- {paths: [/c], scopes: [read], message: C}
- {paths: [/d], scopes: [read]}
errors: {bodies: {"403": "{message}", "401": "{message}"}}
`)
	for path, want := range map[string][2]string{
		"/a": {`"A"`, "read"}, "/b": {`"A"`, "write"}, "/c": {`"C"`, "read"}, "/d": {`"The API key lacks a scope that this request needs."`, "read"},
	} {
		d := p.Denial(policy.InsufficientScope, p.Match("GET", path))
		challenge := `Bearer realm="stepsies", error="insufficient_scope", scope="` + want[1] + `"`
		if got := text(d, policy.Values{}); got != want[0] || d.Challenge != challenge {
			t.Errorf("%s: %s, %s", path, got, d.Challenge)
		}
	}
	if got := text(p.Denial(policy.MissingKey, p.Match("GET", "/a")), policy.Values{}); got != `"This request needs an API key."` {
		t.Errorf("401: %s", got)
	}
}

// What is said besides the body.
func TestDenialsSayWhatIsRequired(t *testing.T) {
	type said struct{ Message, RequiredScopes, RequiredPlan, Docs string }
	p := compile(t, twoScopes+`errors: {docs: "https://example.com", bodies: {default: 1}}`)
	const docs = "https://example.com"
	for name, c := range map[string]struct {
		reason policy.Reason
		path   string
		want   said
	}{
		"a scope":                    {policy.InsufficientScope, "/all", said{"The API key lacks a scope that this request needs.", "write read", "", docs}},
		"a scope, the rule's words":  {policy.InsufficientScope, "/both", said{"Ask for more.", "write", "", docs}},
		"a plan":                     {policy.PlanRequired, "/plan", said{"The API key's plan does not include this request.", "", "business", docs}},
		"a plan, the rule's words":   {policy.PlanRequired, "/both", said{"Ask for more.", "", "business", docs}},
		"neither, whatever the rule": {policy.InvalidKey, "/both", said{"The API key is not valid.", "", "", docs}},
	} {
		t.Run(name, func(t *testing.T) {
			d := p.Denial(c.reason, p.Match("GET", c.path))
			if diff := cmp.Diff(c.want, said{d.Message, d.RequiredScopes, d.RequiredPlan, d.Docs}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("without a policy", func(t *testing.T) {
		d := policy.GenericDenial(policy.NoPolicy)
		if diff := cmp.Diff(said{Message: "No API is open to callers at this address."}, said{d.Message, d.RequiredScopes, d.RequiredPlan, d.Docs}); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestDenialsHaveThePolicysHeaders(t *testing.T) {
	p := compile(t, twoScopes+`errors: {headers: [{name: x-support, value: mail us}, {name: cache-control, value: no-store}]}`)
	want := [][2]string{{"x-support", "mail us"}, {"cache-control", "no-store"}}
	for _, reason := range policy.Reasons() {
		if diff := cmp.Diff(want, p.Denial(reason, p.Match("GET", "/both")).Headers); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
		if got := policy.GenericDenial(reason).Headers; got != nil {
			t.Errorf("%s, without a policy: %v", reason, got)
		}
	}
}
