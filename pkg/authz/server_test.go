package authz

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"keygate.dev/keygate/pkg/policy"
)

func TestCheckAllows(t *testing.T) {
	f := newFixture(t)
	s := start(t, f, nil)
	for name, raw := range map[string]bool{"headers": false, "header_map": true} {
		t.Run(name, func(t *testing.T) {
			out := s.check(t, envoyRequest(request(Field{"x-apikey_id", "evil"}), raw))
			if out.Status == nil || out.Status.Code != int32(codes.OK) || out.GetOkResponse() == nil || out.GetDeniedResponse() != nil {
				t.Fatalf("not an explicit allow: %v", out)
			}
			id := f.record.Digest.ID()
			want := map[string]string{
				"x-apikey-id": id, "x-apikey-name": "ci", "x-apikey-namespace": "acme",
				"x-apikey-policy": "platform/stepsies", "x-apikey-environment": "live", "x-apikey-scopes": "read",
			}
			if diff := cmp.Diff(want, set(t, out.GetOkResponse().Headers)); diff != "" {
				t.Error(diff)
			}
			removed := strings.Join(out.GetOkResponse().HeadersToRemove, " ")
			for _, name := range []string{"authorization", "x-api-key", "x-apikey_id", "x_apikey_id", "x-original-url"} {
				if !strings.Contains(" "+removed+" ", " "+name+" ") {
					t.Errorf("%s is not removed: %s", name, removed)
				}
			}
			wantMetadata := map[string]any{
				"reason": "allowed", "requestId": "req-1", "keyId": id, "policy": "platform/stepsies",
				"name": "ci", "namespace": "acme", "environment": "live", "scopes": []any{"read"}, "metadata": map[string]any{"team": "a"},
			}
			if diff := cmp.Diff(wantMetadata, out.GetDynamicMetadata().AsMap()); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := s.count(t, "keygate_decisions_total", "", "platform/stepsies", "allowed"); got != 2 {
		t.Errorf("%v allows are counted, want 2", got)
	}
	if got := s.count(t, "keygate_decision_duration_seconds"); got != 2 {
		t.Errorf("%v durations are counted, want 2", got)
	}
}

func TestCheckAnonymous(t *testing.T) {
	s := start(t, newFixture(t), nil)
	out := s.check(t, envoyRequest(bare("GET", "/v1/status", Field{"x-apikey-id", "evil"}, Field{"x-request-id", "r"}), true))
	if out.GetOkResponse() == nil || len(out.GetOkResponse().Headers) != 0 {
		t.Fatalf("got %v", out)
	}
	removed := strings.Join(out.GetOkResponse().HeadersToRemove, " ")
	for _, name := range []string{"x-apikey-id", "x-apikey-name", "x-apikey-scopes", "authorization"} {
		if !strings.Contains(" "+removed+" ", " "+name+" ") {
			t.Errorf("%s is not removed: %s", name, removed)
		}
	}
	want := map[string]any{"reason": "anonymous", "requestId": "r", "policy": "platform/stepsies"}
	if diff := cmp.Diff(want, out.GetDynamicMetadata().AsMap()); diff != "" {
		t.Error(diff)
	}
}

func TestCheckDenies(t *testing.T) {
	f := newFixture(t)
	s := start(t, f, nil)
	named := request()
	named.Policy = "platform/other"
	for name, tc := range map[string]struct {
		in     *authv3.CheckRequest
		code   codes.Code
		status int32
		reason policy.Reason
		header map[string]string
	}{
		"malformed request": {envoyRequest(request(Field{"connection", "x-apikey-id"}), true), codes.InvalidArgument, 400,
			policy.MalformedRequest, map[string]string{}},
		"missing key": {envoyRequest(bare("GET", "/v1/stepsies", Field{"x-request-id", "req-1"}), true), codes.Unauthenticated, 401,
			policy.MissingKey, map[string]string{"www-authenticate": `Bearer realm="stepsies"`}},
		"two keys": {envoyRequest(request(Field{"authorization", "Bearer " + token}), true), codes.Unauthenticated, 401,
			policy.MalformedKey, map[string]string{"www-authenticate": `Bearer realm="stepsies", error="invalid_token"`}},
		"two keys joined": {envoyRequest(request(Field{"authorization", "Bearer " + token}), false), codes.Unauthenticated, 401,
			policy.MalformedKey, map[string]string{"www-authenticate": `Bearer realm="stepsies", error="invalid_token"`}},
		"unknown key": {envoyRequest(bare("GET", "/v1/me", Field{"x-api-key", "x"}, Field{"x-request-id", "req-1"}), true), codes.Unauthenticated, 401,
			policy.InvalidKey, map[string]string{"www-authenticate": `Bearer realm="stepsies", error="invalid_token"`}},
		"scope": {envoyRequest(bare("POST", "/v1/stepsies", Field{"x-api-key", token}, Field{"x-request-id", "req-1"}), true), codes.PermissionDenied, 403,
			policy.InsufficientScope, map[string]string{"www-authenticate": `Bearer realm="stepsies", error="insufficient_scope", scope="write"`}},
		"no rule": {envoyRequest(bare("PUT", "/v1/stepsies", Field{"x-request-id", "req-1"}), true), codes.PermissionDenied, 403,
			policy.NoRule, map[string]string{}},
		"no policy": {envoyRequest(named, true), codes.PermissionDenied, 403, policy.NoPolicy, map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			out := s.check(t, tc.in)
			denied := out.GetDeniedResponse()
			if denied == nil || out.GetOkResponse() != nil || codes.Code(out.Status.GetCode()) != tc.code {
				t.Fatalf("got %v", out)
			}
			if got := int32(denied.GetStatus().GetCode()); got != tc.status {
				t.Errorf("status %d, want %d", got, tc.status)
			}
			tc.header["content-type"], tc.header["cache-control"], tc.header["x-request-id"] = "application/problem+json", "no-store", "req-1"
			if diff := cmp.Diff(tc.header, set(t, denied.Headers)); diff != "" {
				t.Error(diff)
			}
			var body map[string]any
			if err := json.Unmarshal([]byte(denied.Body), &body); err != nil {
				t.Errorf("body %q: %v", denied.Body, err)
			}
			if got := out.GetDynamicMetadata().AsMap()["reason"]; got != string(tc.reason) {
				t.Errorf("metadata tells the reason %v, want %v", got, tc.reason)
			}
		})
	}
}

// rawCodec sends bytes as they are, and reads into what is nil by not reading.
type rawCodec struct{ encoding.CodecV2 }

func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if v == nil {
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

func (c rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(bytes.Clone(v.([]byte)))}, nil
}

// TestCheckWithoutRequest: what Envoy never sends is denied inside a CheckResponse.
func TestCheckWithoutRequest(t *testing.T) {
	s := start(t, newFixture(t), nil)
	marshal := func(m *authv3.CheckRequest) []byte {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := marshal(envoyRequest(request(), true))
	for name, data := range map[string][]byte{
		"nothing":            {},
		"no attributes":      marshal(&authv3.CheckRequest{}),
		"empty attributes":   marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{}}),
		"no HTTP attributes": marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{}}}),
		"empty HTTP":         marshal(envoyRequest(&Request{}, false)),
		// What Istio's CUSTOM sends of a TCP connection.
		"a TCP connection": marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Source:      &authv3.AttributeContext_Peer{Principal: "spiffe://cluster.local/ns/acme/sa/client"},
			Destination: &authv3.AttributeContext_Peer{Principal: "spiffe://cluster.local/ns/platform/sa/stepsies"},
		}}),
		"cut":         good[:len(good)-1],
		"no protobuf": []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			out := &authv3.CheckResponse{}
			err := s.conn.Invoke(t.Context(), "/"+ServiceName+"/Check", data, out,
				grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2("proto")}))
			if err != nil {
				t.Fatal(err)
			}
			if codes.Code(out.Status.GetCode()) != codes.InvalidArgument || out.GetDeniedResponse().GetStatus().GetCode() != 400 {
				t.Errorf("got %v", out)
			}
		})
	}
}

// TestCheckUnavailable: a failure on our side is an error_response with 503, never
// a 403 and never an allow.
func TestCheckUnavailable(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil  func(*fixture)
		detail Detail
	}{
		"not synced":      {func(f *fixture) { f.synced.Store(false) }, DetailNotSynced},
		"look-up fails":   {func(f *fixture) { f.fail(0) }, DetailStore},
		"panic":           {func(f *fixture) { f.keys.onLookup = func() { panic("with the token " + token) } }, DetailPanic},
		"runtime error":   {func(f *fixture) { f.keys.onLookup = func() { _ = []int{}[len(token)] } }, DetailPanic},
		"no table at all": {func(f *fixture) { f.Policies = func() *policy.Table { panic("none") } }, DetailPanic},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			tc.spoil(f)
			s := start(t, f, nil)
			out := s.check(t, envoyRequest(request(), true))
			failed := out.GetErrorResponse()
			if failed.GetStatus().GetCode() != 503 || codes.Code(out.Status.GetCode()) != codes.Unavailable {
				t.Fatalf("got %v", out)
			}
			header := set(t, failed.Headers)
			if header["retry-after"] != "5" || header["x-request-id"] != "req-1" {
				t.Errorf("header %v", header)
			}
			if got := out.GetDynamicMetadata().AsMap()["detail"]; got != string(tc.detail) {
				t.Errorf("detail %v, want %v", got, tc.detail)
			}
			panics := 0.0
			if tc.detail == DetailPanic {
				panics = 1
			}
			if got := s.count(t, "keygate_panics_total"); got != panics {
				t.Errorf("%v panics are counted, want %v", got, panics)
			}
			if got := s.count(t, "keygate_decisions_in_flight"); got != 0 {
				t.Errorf("%v decisions are in flight", got)
			}
			if strings.Contains(s.log.String(), token) {
				t.Error("the token is in the log")
			}
			// The server goes on.
			f.synced.Store(true)
			f.keys.onLookup = nil
			clear(f.keys.failing)
			if out := s.check(t, envoyRequest(bare("GET", "/nowhere"), true)); name != "no table at all" && out.GetDeniedResponse() == nil {
				t.Errorf("afterwards %v", out)
			}
		})
	}
}

// TestCheckCancelled: even an answer that nobody waits for is no allow.
func TestCheckCancelled(t *testing.T) {
	f := newFixture(t)
	s := start(t, f, nil)
	ctx, cancel := context.WithCancel(t.Context())
	observer, err := newObserver(s.options.Log, LogNone, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	data, err := proto.Marshal(envoyRequest(request(), true))
	if err != nil {
		t.Fatal(err)
	}
	direct := &service{decider: f.Decider, answers: &answers{policies: f.Policies}, observer: observer}
	out := direct.check(ctx, &checkRequest{message: data})
	if codes.Code(out.response.Status.GetCode()) != codes.Unavailable || out.response.GetErrorResponse() == nil {
		t.Errorf("got %v", out.response)
	}
	if _, err := s.client.Check(ctx, envoyRequest(request(), true)); status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestCheckBodyLimit(t *testing.T) {
	f := newFixture(t)
	in := envoyRequest(bare("GET", "/v1/stepsies", Field{"x-request-id", "req-1"}), true)
	body := start(t, f, nil).check(t, in).GetDeniedResponse().GetBody()
	for name, tc := range map[string]struct {
		limit int
		want  string
	}{
		"none":          {0, body},
		"just enough":   {len(body), body},
		"one byte less": {len(body) - 1, ""},
		"one byte":      {1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			denied := start(t, f, func(o *ServerOptions) { o.MaxBodyBytes = tc.limit }).check(t, in).GetDeniedResponse()
			if denied.GetBody() != tc.want || denied.GetStatus().GetCode() != 401 {
				t.Errorf("status %v, body %q, want %q", denied.GetStatus(), denied.GetBody(), tc.want)
			}
			if _, typed := set(t, denied.Headers)["content-type"]; typed != (tc.want != "") {
				t.Errorf("content-type is there: %v", typed)
			}
		})
	}
}

// TestCheckSpoofedHeaders: 0, 1 and 2 copies, in both encodings of the header.
func TestCheckSpoofedHeaders(t *testing.T) {
	f := newFixture(t)
	s := start(t, f, nil)
	spoofed := []Field{{"x-apikey-id", "evil"}, {"x-apikey-id", "evil"}}
	for copies := range 3 {
		for _, raw := range []bool{false, true} {
			ok := s.check(t, envoyRequest(request(spoofed[:copies]...), raw)).GetOkResponse()
			if got := set(t, ok.GetHeaders())["x-apikey-id"]; got != f.record.Digest.ID() {
				t.Errorf("%d copies, raw %v: x-apikey-id is %q", copies, raw, got)
			}
			for _, removed := range ok.GetHeadersToRemove() {
				if removed == "x-apikey-id" {
					t.Errorf("%d copies, raw %v: it is set and removed", copies, raw)
				}
			}
		}
	}
}

// TestCheckLargeBody: a body that Envoy sends along is no way around an answer.
func TestCheckLargeBody(t *testing.T) {
	s := start(t, newFixture(t), nil)
	in := envoyRequest(request(Field{"x-api-key", token}), true)
	in.Attributes.Request.Http.RawBody = make([]byte, 10<<20)
	if out := s.check(t, in); out.GetDeniedResponse().GetStatus().GetCode() != 401 {
		t.Errorf("got %v", out)
	}
}
