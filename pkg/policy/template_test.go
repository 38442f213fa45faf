package policy_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"keygate.dev/keygate/pkg/policy"
)

// withBody compiles a policy with one body, given as JSON.
func withBody(tb testing.TB, key, raw string) (*policy.Policy, error) {
	tb.Helper()
	src := source(tb, `
errors: {docs: "https://example.com"}
rules: [{paths: [/], scopes: [read, write], plan: team, message: "<No>"}]
plans: [{name: team}]
`)
	src.Spec.Errors.Bodies = map[string]apiextensionsv1.JSON{key: {Raw: []byte(raw)}}
	return policy.Compile(src)
}

func TestTemplates(t *testing.T) {
	const scope, rule, down, key = policy.InsufficientScope, policy.NoRule, policy.Unavailable, policy.InvalidKey
	const plan, rate = policy.PlanRequired, policy.RateLimited
	for name, c := range map[string]struct {
		reason     policy.Reason
		keyID      string
		raw, wants string
	}{
		"members keep their order":      {rule, "", `{"b": 1, "a": {"z": true, "y": null}, "c": []}`, `{"b":1,"a":{"z":true,"y":null},"c":[]}`},
		"numbers keep their text":       {rule, "", `[1.0, 1e3, -0, 12345678901234567890123, 0.10]`, `[1.0,1e3,-0,12345678901234567890123,0.10]`},
		"other values":                  {rule, "", `[true, false, null, "", {}]`, `[true,false,null,"",{}]`},
		"a number alone":                {rule, "", ` 7 `, `7`},
		"a string alone":                {rule, "", `"a"`, `"a"`},
		"text is escaped":               {rule, "", `{"a\"b": "\u0001\t\"\\/<&>\u007fé\u2028"}`, "{\"a\\\"b\":\"\\u0001\\u0009\\\"\\\\/\\u003c\\u0026\\u003e\\u007fé\u2028\"}"},
		"half a surrogate pair":         {rule, "", `"\ud800"`, `"` + "\ufffd" + `"`},
		"{requestId}":                   {rule, "", `{"id": "{requestId}"}`, `{"id":"r-1"}`},
		"{requestId} within a text":     {rule, "", `"<{requestId}> {requestId}{requestId}."`, `"\u003cr-1\u003e r-1r-1."`},
		"{reason}":                      {rule, "", `"{reason}"`, `"no_rule"`},
		"{message}":                     {rule, "", `"{message}"`, `"This path and method are not open to callers."`},
		"{message} of the rule":         {scope, "", `"{message}"`, `"\u003cNo\u003e"`},
		"{docs}":                        {rule, "", `"see {docs}"`, `"see https://example.com"`},
		"{requiredScopes}":              {scope, "", `"{requiredScopes}"`, `"read write"`},
		"{retryAfter}":                  {down, "", `"{retryAfter} s"`, `"5 s"`},
		"{requiredPlan}":                {plan, "", `{"a": "{requiredPlan}", "b": "{requiredScopes}", "c": "{message}"}`, `{"a":"team","c":"\u003cNo\u003e"}`},
		"no {requiredPlan} of a scope":  {scope, "", `{"a": "{requiredPlan}", "b": "{requiredScopes}"}`, `{"b":"read write"}`},
		"no {requiredPlan}":             {rule, "", `["{requiredPlan}", 1]`, `[1]`},
		"{retryAfter} of the request":   {rate, "", `{"a": "in {retryAfter} s", "b": "{retryAfter}"}`, `{"a":"in 3599 s","b":"3599"}`},
		"{limit} of the request":        {rate, "k-1", `{"a": "{limit}/{retryAfter} {keyId}", "b": "{requestId}{limit}"}`, `{"a":"100/3599 k-1","b":"r-1100"}`},
		"{limit} without a key":         {rate, "", `{"a": "{limit}", "b": "{keyId}{limit}"}`, `{"a":"100"}`},
		"no {limit} of another reason":  {down, "", `{"a": "{limit}", "b": "{retryAfter}"}`, `{"b":"5"}`},
		"{keyId}":                       {key, "k-1", `{"key": "{keyId}/{requestId}"}`, `{"key":"k-1/r-1"}`},
		"{requestId} before {keyId}":    {key, "k-1", `["{requestId}","{keyId}"]`, `["r-1","k-1"]`},
		"no {keyId}":                    {key, "", `{"a": 1, "key": "{keyId}", "b": 2}`, `{"a":1,"b":2}`},
		"no {requiredScopes}":           {rule, "", `{"a": "needs {requiredScopes}", "b": 2}`, `{"b":2}`},
		"no {retryAfter}":               {rule, "", `{"a": 1, "b": "{reason} {retryAfter}"}`, `{"a":1}`},
		"no required scopes of a 401":   {key, "", `{"a": "{requiredScopes}"}`, `{}`},
		"an element left out":           {rule, "", `["{retryAfter}", 1, "{retryAfter}", 2, "{keyId}"]`, `[1,2]`},
		"an object that became empty":   {rule, "", `{"a": {"b": "{keyId}"}, "c": ["{keyId}"]}`, `{"a":{},"c":[]}`},
		"nothing but what is left out":  {rule, "", `"{keyId}"`, `null`},
		"placeholders are not names":    {rule, "", `{"{requestId}": 1, "{foo}": 2}`, `{"{requestId}":1,"{foo}":2}`},
		"braces around no name":         {rule, "", `"{} { } {1} {a-b} {a.b} {_a} { {"`, `"{} { } {1} {a-b} {a.b} {_a} { {"`},
		"braces around braces":          {rule, "", `"{{reason}}"`, `"{no_rule}"`},
		"a placeholder is put in once":  {scope, "", `"{reason"`, `"{reason"`},
		"text before and after":         {rule, "", `"a{reason}b{reason}c"`, `"ano_rulebno_rulec"`},
		"several placeholders, one out": {rule, "k", `["{reason}{keyId}{retryAfter}", "{reason}{keyId}"]`, `["no_rulek"]`},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := withBody(t, "default", c.raw)
			if err != nil {
				t.Fatal(err)
			}
			got := text(p.Denial(c.reason, p.Match("GET", "/")), policy.Values{RequestID: "r-1", KeyID: c.keyID, RetryAfter: 3599, Limit: "100"})
			if diff := cmp.Diff(c.wants, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !json.Valid([]byte(got)) {
				t.Errorf("not JSON: %s", got)
			}
		})
	}
}

// A leaf is left out for each value that a rate-limited request does not have, and
// only then.
func TestRateLimitedValues(t *testing.T) {
	p, err := withBody(t, "429", `{"k": "{keyId}", "r": "{retryAfter}", "l": "{limit}", "rl": "{retryAfter} {limit}", "x": 1}`)
	if err != nil {
		t.Fatal(err)
	}
	d := p.Denial(policy.RateLimited, nil)
	for want, v := range map[string]policy.Values{
		`{"x":1}`:                   {},
		`{"k":"k","x":1}`:           {KeyID: "k"},
		`{"r":"7","x":1}`:           {RetryAfter: 7},
		`{"l":"9","x":1}`:           {Limit: "9"},
		`{"k":"k","r":"1","x":1}`:   {KeyID: "k", RetryAfter: 1, Limit: "01"},
		`{"k":"k","l":"123","x":1}`: {KeyID: "k", RetryAfter: -1, Limit: "123"},
		`{"r":"7","l":"1000000000","rl":"7 1000000000","x":1}`: {RetryAfter: 7, Limit: "1000000000"},
		`{"k":"k","r":"8","x":1}`:                              {KeyID: "k", RetryAfter: 8, Limit: "0"},
		`{"r":"9","x":1}`:                                      {RetryAfter: 9, Limit: `1"`},
		`{"k":"l","r":"9","x":1}`:                              {KeyID: "l", RetryAfter: 9, Limit: "12345678901234567890"},
		`{"k":"m","l":"1234567890123456789","x":1}`:            {KeyID: "m", Limit: "1234567890123456789"},
	} {
		if diff := cmp.Diff(want, text(d, v)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", v, diff)
		}
	}
}

func TestTemplatesWithoutDocs(t *testing.T) {
	p := compile(t, `errors: {bodies: {default: {a: "{docs}", b: 1}}}`)
	if got := text(p.Denial(policy.NoRule, nil), policy.Values{}); got != `{"b":1}` {
		t.Error(got)
	}
}

func TestBodiesThatAreNoJSON(t *testing.T) {
	for name, c := range map[string]struct{ raw, want string }{
		"nothing":             {``, "it is empty"},
		"half an object":      {`{"a":`, "it is not JSON"},
		"two values":          {`1 2`, "it is not JSON"},
		"a name of no string": {`{1: 2}`, "it is not JSON"},
		"a missing comma":     {`[1 2]`, "it is not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := withBody(t, "401", c.raw); err == nil || !strings.Contains(err.Error(), "spec.errors.bodies[401]: "+c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestTooManyBodies(t *testing.T) {
	src := source(t, "errors: {bodies: "+"{"+strings.Trim(many(33, "k%d: 1"), "[]")+"}}")
	if _, err := policy.Compile(src); err == nil || !strings.Contains(err.Error(), "spec.errors.bodies: there are 33 bodies, and 32") {
		t.Errorf("%v", err)
	}
	src = source(t, "errors: {bodies: "+"{"+strings.Trim(many(32, "k%d: 1"), "[]")+"}}")
	if _, err := policy.Compile(src); err == nil || strings.Contains(err.Error(), "there are 32 bodies") {
		t.Errorf("32 bodies: %v", err)
	}
}

// What a request brings is restricted before it gets here; that the body is JSON must
// not depend on it.
func TestRequestValuesAreEscaped(t *testing.T) {
	p, err := withBody(t, "default", `{"r": "{requestId}", "k": "{keyId}"}`)
	if err != nil {
		t.Fatal(err)
	}
	v := policy.Values{RequestID: `"},{"` + "\x00\n\\<script>", KeyID: "\x80\xff\"&\x7f"}
	want := map[string]any{"r": v.RequestID, "k": "\ufffd\ufffd\"&\x7f"}
	if diff := cmp.Diff(want, body(t, p.Denial(policy.NoRule, nil), v)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := text(p.Denial(policy.NoRule, nil), v); strings.ContainsAny(got, "<>&\x7f") || !utf8.ValidString(got) {
		t.Errorf("markup or malformed UTF-8 survives: %q", got)
	}
}

func TestAppendBodyAppends(t *testing.T) {
	d := compile(t, `errors: {bodies: {default: 1}}`).Denial(policy.NoRule, nil)
	if got := string(d.AppendBody([]byte("before "), policy.Values{})); got != "before 1" {
		t.Error(got)
	}
}

// mayHavePlaceholders finds what may be a placeholder, however it is escaped.
var mayHavePlaceholders = regexp.MustCompile(`\{[A-Za-z]|\\u007[bB]`)

func FuzzTemplate(f *testing.F) {
	f.Add(`{"error": {"code": "{reason}", "id": "{requestId}", "key": ["{keyId}", "{docs}"]}}`, "r-1", "0123456789abcdef", 0, "")
	f.Add(`"{requestId}"`, "\"\\\x00", "\xff", -1, "\"")
	f.Add(`[1e9, true, null, "{retryAfter}", {"<&>": "\u2028\ud800"}]`, "", "", 5, "0")
	f.Add(`{"a": "{limit}", "b": "{requiredPlan} {retryAfter}", "c": ["{keyId}{limit}"]}`, "r", "k", 3600, "100")
	f.Fuzz(func(t *testing.T, raw, requestID, keyID string, retryAfter int, limit string) {
		p, err := withBody(t, "default", raw)
		if err != nil {
			return
		}
		for _, reason := range policy.Reasons() {
			d := p.Denial(reason, p.Match("GET", "/"))
			got := text(d, policy.Values{RequestID: requestID, KeyID: keyID, RetryAfter: retryAfter, Limit: limit})
			if !json.Valid([]byte(got)) {
				t.Fatalf("%s: not JSON: %q", reason, got)
			}
			generic := policy.GenericDenial(reason).AppendBody(nil, policy.Values{RequestID: requestID, KeyID: keyID, RetryAfter: retryAfter, Limit: limit})
			if !json.Valid(generic) {
				t.Fatalf("%s: not JSON: %q", reason, generic)
			}
			if mayHavePlaceholders.MatchString(raw) {
				continue
			}
			// The body is the same JSON value as was given.
			var want, have any
			if json.Unmarshal([]byte(raw), &want) != nil || json.Unmarshal([]byte(got), &have) != nil {
				continue // a number beyond float64
			}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", reason, diff)
			}
		}
	})
}
