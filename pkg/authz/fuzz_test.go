package authz

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/policy"
	"keygate.dev/keygate/pkg/ratelimit"
)

// FuzzDecide: whatever a caller sends, nobody is let in without the key, and every
// answer is explicit and valid.
func FuzzDecide(f *testing.F) {
	f.Add("GET", "/v1/stepsies", "api.stepsies.com", "", "authorization: Bearer "+token)
	f.Add("GET", "/v1/status", "api.stepsies.com", "", "authorization: Bearer "+token+"\nx-apikey-id: evil")
	f.Add("POST", "/v1/stepsies?x", "x.test", "platform/stepsies", "x-api-key: "+token+"\nconnection: x-apikey-id")
	f.Add("GET", "/v1/me", "broken.stepsies.com:1", "", "X-API-KEY: "+token+"\nx-request-id: \"")
	f.Add("", "", "", "", "")
	fixture := newFixture(f)
	a := &answers{policies: fixture.Policies}
	f.Fuzz(func(t *testing.T, method, target, host, named, header string) {
		r := &Request{Method: method, Path: target, Host: host, Policy: named}
		for line := range strings.SplitSeq(header, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			r.Header = append(r.Header, Field{name, value})
		}
		v := fixture.Decide(context.Background(), r)
		if v.Allow != entitled(r, v.Reason) {
			t.Errorf("allow %v for %v", v.Allow, v.Reason)
		}
		checkAnswer(t, a.of(&v, r), v.Allow)
	})
}

// FuzzProducts is FuzzDecide with all that a policy can have.
func FuzzProducts(f *testing.F) {
	f.Add("GET", "/v1/me?api_key="+token, true, true, "content-type: application/grpc")
	f.Add("GET", "/v1/me?a;b&k~1=%73k_"+token[3:], true, true, "x-request-id: a")
	f.Add("GET", "/v1/me?api_key=x&api%5fkey="+token, true, false, "")
	f.Add("OPTIONS", "/v1/me", true, true, "origin: https://app.test\naccess-control-request-method: PUT")
	f.Add("GET", "/v1/me?api_key=", false, true, "x-api-key: "+token)
	f.Add("POST", "/v1/pro", true, false, "authorization: bearer "+token+"\ncontent-type: application/grpc+proto")
	fixture := newFixtureWith(f, func(spec *v1alpha1.APIKeyPolicySpec) {
		inQueries(spec)
		plans(spec)
		spec.RequireTLS, spec.Preflight, spec.Errors.Docs = true, v1alpha1.PreflightAllow, "https://docs.test"
		spec.Errors.Headers = []v1alpha1.ErrorHeader{{Name: "x-docs", Value: "here"}}
	})
	fixture.record.Plan = "pro"
	a := &answers{policies: fixture.Policies}
	f.Fuzz(func(t *testing.T, method, target string, tls, room bool, header string) {
		r := &Request{Method: method, Path: target, Host: "api.stepsies.com", TLS: tls}
		for line := range strings.SplitSeq(header, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			r.Header = append(r.Header, Field{name, value})
		}
		fixture.limiter.asked = nil
		fixture.limiter.result = ratelimit.Result{Allowed: room, Windows: []ratelimit.Window{{Limit: hourly, Reset: 1}}, RetryAfter: 1}
		v := fixture.Decide(context.Background(), r)
		path, query, _ := strings.Cut(target, "?")
		counted := len(fixture.limiter.asked) > 0
		want := tls && (entitled(r, v.Reason) || v.Reason == Anonymous && isPreflight(r))
		if path != "/v1/free" { // costs nothing
			want = want && (v.Reason == Anonymous || room)
		}
		if v.Allow != want || counted != (v.Reason == policy.RateLimited || v.Reason == Allowed && path != "/v1/free") {
			t.Errorf("allow %v for %v, counted: %v", v.Allow, v.Reason, counted)
		}
		out := a.of(&v, r)
		checkAnswer(t, out, v.Allow)
		rewritten, found := set(t, out.response.GetOkResponse().GetHeaders())[":path"]
		if v.Allow && (found != (len(sentInQuery(query)) > 0) || strings.Contains(rewritten, token)) {
			t.Errorf("%q goes upstream as %q", target, rewritten)
		}
	})
}

// isPreflight says, without the package's own parsing, whether r is a preflight
// request.
func isPreflight(r *Request) bool {
	count := map[string]int{}
	for _, field := range r.Header {
		if field.Value != "" {
			count[strings.ToLower(field.Name)]++
		}
	}
	return r.Method == "OPTIONS" && count["origin"] == 1 && count["access-control-request-method"] == 1
}

// sentInQuery is what a query has for the parameters api_key and k~1.
func sentInQuery(query string) (values []string) {
	for _, parameter := range strings.Split(query, "&") {
		name, value, _ := strings.Cut(parameter, "=")
		if name == "api_key" || name == "k~1" {
			decoded, _ := url.PathUnescape(value)
			values = append(values, decoded)
		}
	}
	return values
}

// entitled says, without the package's own parsing, whether an allow is right.
func entitled(r *Request, reason policy.Reason) bool {
	path, query, _ := strings.Cut(r.Path, "?")
	switch reason {
	case Anonymous:
		return path == "/v1/status" && r.Method == "GET"
	case Allowed:
		values := []string{}
		for _, field := range r.Header {
			switch strings.ToLower(field.Name) {
			case "authorization":
				scheme, rest, _ := strings.Cut(field.Value, " ")
				if strings.EqualFold(scheme, "bearer") {
					values = append(values, rest)
				} else {
					values = append(values, "")
				}
			case "x-api-key":
				values = append(values, field.Value)
			}
		}
		if r.TLS { // only FuzzProducts' requests are, and its policy looks there
			values = append(values, sentInQuery(query)...)
		}
		return len(values) == 1 && values[0] == token
	}
	return false
}

// checkAnswer checks what holds for every answer.
func checkAnswer(t *testing.T, a *answer, allow bool) {
	t.Helper()
	data, err := a.encode()
	if err != nil {
		t.Fatal(err)
	}
	response := &authv3.CheckResponse{}
	if err := proto.Unmarshal(data, response); err != nil {
		t.Fatal(err)
	}
	if response.Status == nil || (response.Status.Code == int32(codes.OK)) != allow {
		t.Errorf("status %v for allow %v", response.Status, allow)
	}
	if (response.GetOkResponse() != nil) != allow {
		t.Errorf("allow %v has %T", allow, response.HttpResponse)
	}
	if response.GetDynamicMetadata().GetFields()["reason"].GetStringValue() == "" {
		t.Error("no reason in the metadata")
	}
	for _, denied := range []*authv3.DeniedHttpResponse{response.GetDeniedResponse(), response.GetErrorResponse()} {
		if denied == nil {
			continue
		}
		header := set(t, denied.GetHeaders())
		sound := json.Valid([]byte(denied.Body))
		if header["grpc-status"] != "" {
			_, details := readDetails(t, header["grpc-status-details-bin"])
			sound = denied.Body == "" && header["grpc-status"] != "0" && len(details) > 0
		}
		if !sound || denied.GetStatus().GetCode() < 400 {
			t.Errorf("status %v, header %v, body %q", denied.GetStatus(), header, denied.Body)
		}
	}
}
