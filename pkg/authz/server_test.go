package authz

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"keygate.dev/keygate/pkg/policy"
)

// testServer is a Server on an in-memory listener, and what can be seen of it.
type testServer struct {
	*Server
	conn    *grpc.ClientConn
	client  authv3.AuthorizationClient
	metrics *prometheus.Registry
	log     *bytes.Buffer
	lis     *bufconn.Listener
	// stop begins the end; served is what Serve returned.
	stop   context.CancelFunc
	served chan error
}

// start serves the fixture. It ends with the test.
func start(tb testing.TB, f *fixture, change func(*ServerOptions)) *testServer {
	tb.Helper()
	s := &testServer{
		metrics: prometheus.NewRegistry(), log: &bytes.Buffer{},
		lis: bufconn.Listen(1 << 20), served: make(chan error, 1),
	}
	o := ServerOptions{
		Decider: f.Decider, Decisions: LogAll, DrainTimeout: 5 * time.Second,
		Log: slog.New(slog.NewJSONHandler(s.log, nil)), Registerer: s.metrics,
	}
	if change != nil {
		change(&o)
	}
	var err error
	if s.Server, err = NewServer(o); err != nil {
		tb.Fatal(err)
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	go func() { s.served <- s.Serve(ctx, s.lis) }()
	s.conn, err = grpc.NewClient("passthrough:///keygate",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.lis.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	s.client = authv3.NewAuthorizationClient(s.conn)
	tb.Cleanup(func() {
		s.stop()
		if err := s.conn.Close(); err != nil {
			tb.Error(err)
		}
		if err := <-s.served; err != nil {
			tb.Error(err)
		}
	})
	return s
}

// check asks the server and fails the test on an RPC error.
func (s *testServer) check(tb testing.TB, in *authv3.CheckRequest) *authv3.CheckResponse {
	tb.Helper()
	out, err := s.client.Check(tb.Context(), in)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// count is the value of a counter or gauge with these label values, in order of
// the labels' names.
func (s *testServer) count(tb testing.TB, name string, labels ...string) float64 {
	tb.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetValue())
			}
			if cmp.Equal(have, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// envoyRequest is r as Envoy sends it, by default or with encode_raw_headers.
func envoyRequest(r *Request, raw bool) *authv3.CheckRequest {
	http := &authv3.AttributeContext_HttpRequest{
		Id: "1234", Method: r.Method, Path: r.Path, Host: r.Host, Scheme: "https", Protocol: "HTTP/1.1", Size: -1,
	}
	if raw {
		http.HeaderMap = &corev3.HeaderMap{}
		for _, f := range r.Header {
			http.HeaderMap.Headers = append(http.HeaderMap.Headers, &corev3.HeaderValue{Key: f.Name, RawValue: []byte(f.Value)})
		}
	} else {
		http.Headers = map[string]string{}
		for _, f := range r.Header {
			if have, ok := http.Headers[f.Name]; ok {
				f.Value = have + "," + f.Value
			}
			http.Headers[f.Name] = f.Value
		}
	}
	in := &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: http}}}
	if r.Policy != "" {
		in.Attributes.ContextExtensions = map[string]string{"keygate.dev/policy": r.Policy}
	}
	return in
}

// set is the headers of an answer, all of which must overwrite.
func set(tb testing.TB, options []*corev3.HeaderValueOption) map[string]string {
	tb.Helper()
	out := map[string]string{}
	for _, o := range options {
		name := o.GetHeader().GetKey()
		if _, twice := out[name]; twice {
			tb.Errorf("%s is set twice", name)
		}
		if o.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			tb.Errorf("%s does not overwrite", name)
		}
		out[name] = o.GetHeader().GetValue()
	}
	return out
}

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

func TestDecisionLog(t *testing.T) {
	for name, tc := range map[string]struct {
		lines           DecisionLog
		allowed, denied int
	}{
		"none": {LogNone, 0, 0}, "unset": {"", 0, 0}, "denied": {LogDenied, 0, 1}, "all": {LogAll, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, newFixture(t), func(o *ServerOptions) { o.Decisions = tc.lines })
			s.check(t, envoyRequest(request(), true))
			if got := strings.Count(s.log.String(), "\n"); got != tc.allowed {
				t.Errorf("%d lines for an allow, want %d", got, tc.allowed)
			}
			s.log.Reset()
			s.check(t, envoyRequest(request(Field{"x-api-key", token}), true))
			if got := strings.Count(s.log.String(), "\n"); got != tc.denied {
				t.Errorf("%d lines for a denial, want %d", got, tc.denied)
			}
			if strings.Contains(s.log.String(), token) {
				t.Error("the token is in the log")
			}
		})
	}
}

func TestDecisionLogLine(t *testing.T) {
	f := newFixture(t)
	s := start(t, f, nil)
	for name, tc := range map[string]struct {
		method string
		want   map[string]any
	}{
		"allowed":              {"GET", map[string]any{"reason": "allowed", "detail": "", "method": "GET", "keyId": f.record.Digest.ID()}},
		"a method with a dash": {"VERSION-CONTROL", map[string]any{"reason": "no_rule", "detail": "", "method": "VERSION-CONTROL", "keyId": ""}},
		"a method made up":     {token, map[string]any{"reason": "no_rule", "detail": "", "method": "", "keyId": ""}},
		"a long method":        {strings.Repeat("A", 33), map[string]any{"reason": "no_rule", "detail": "", "method": "", "keyId": ""}},
		"a method as long as can be": {strings.Repeat("Z", 32),
			map[string]any{"reason": "no_rule", "detail": "", "method": strings.Repeat("Z", 32), "keyId": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s.log.Reset()
			r := bare(tc.method, "/v1/stepsies", Field{"authorization", "Bearer " + token}, Field{"x-request-id", "req-1"})
			s.check(t, envoyRequest(r, true))
			got := map[string]any{}
			if err := json.Unmarshal(s.log.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			delete(got, "time")
			tc.want["msg"], tc.want["level"] = "request decided", "INFO"
			tc.want["policy"], tc.want["requestId"] = "platform/stepsies", "req-1"
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseDecisionLog(t *testing.T) {
	for s, ok := range map[string]bool{"none": true, "denied": true, "all": true, "": false, "ALL": false} {
		if got, err := ParseDecisionLog(s); (err == nil) != ok || ok && string(got) != s {
			t.Errorf("ParseDecisionLog(%q) = %q, %v", s, got, err)
		}
	}
}
