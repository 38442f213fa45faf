package authz

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"keygate.dev/keygate/pkg/policy"
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

// entitled says, without the package's own parsing, whether an allow is right.
func entitled(r *Request, reason policy.Reason) bool {
	path, _, _ := strings.Cut(r.Path, "?")
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
		if denied != nil && (!json.Valid([]byte(denied.Body)) || denied.GetStatus().GetCode() < 400) {
			t.Errorf("status %v, body %q", denied.GetStatus(), denied.Body)
		}
	}
}
