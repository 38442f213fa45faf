package authz

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/ratelimit"
)

// TestCheckTLS: what Envoy alone can know, unless told to believe the scheme.
func TestCheckTLS(t *testing.T) {
	f := newFixtureWith(t, func(spec *v1alpha1.APIKeyPolicySpec) { spec.RequireTLS = true })
	for name, tc := range map[string]struct {
		attributes func(*authv3.AttributeContext)
		// strict and trusting are the answers without and with TrustForwardedProto.
		strict, trusting bool
	}{
		"nothing":                       {func(a *authv3.AttributeContext) { a.Request.Http.Scheme = "http" }, false, false},
		"only the scheme":               {func(a *authv3.AttributeContext) { a.Request.Http.Scheme = "https" }, false, true},
		"another scheme":                {func(a *authv3.AttributeContext) { a.Request.Http.Scheme = "HTTPS" }, false, false},
		"no scheme":                     {func(a *authv3.AttributeContext) { a.Request.Http.Scheme = "" }, false, false},
		"the principal":                 {func(a *authv3.AttributeContext) { a.Destination.Principal, a.Request.Http.Scheme = "gateway", "http" }, true, true},
		"both":                          {func(a *authv3.AttributeContext) { a.Destination.Principal = "gateway" }, true, true},
		"the header":                    {func(a *authv3.AttributeContext) { a.Request.Http.Scheme = "http"; forwarded(a, "https") }, false, true},
		"the header against the scheme": {func(a *authv3.AttributeContext) { a.Request.Http.Scheme = "https"; forwarded(a, "http") }, false, false},
		"two of the header": {func(a *authv3.AttributeContext) {
			a.Request.Http.Scheme = "https"
			forwarded(a, "https")
			forwarded(a, "https")
		}, false, false},
		"a list":            {func(a *authv3.AttributeContext) { a.Request.Http.Scheme = "https"; forwarded(a, "https,http") }, false, false},
		"the caller's":      {func(a *authv3.AttributeContext) { a.Source.Principal, a.Request.Http.Scheme = "client", "http" }, false, false},
		"another attribute": {func(a *authv3.AttributeContext) { a.Destination.Service, a.Request.Http.Scheme = "gateway", "http" }, false, false},
		"a TLS session alone": {func(a *authv3.AttributeContext) {
			a.TlsSession, a.Request.Http.Scheme = &authv3.AttributeContext_TLSSession{}, "http"
		}, false, false},
	} {
		for trust, want := range map[bool]bool{false: tc.strict, true: tc.trusting} {
			t.Run(name, func(t *testing.T) {
				in := envoyRequest(request(), true)
				in.Attributes.Source, in.Attributes.Destination = &authv3.AttributeContext_Peer{}, &authv3.AttributeContext_Peer{}
				tc.attributes(in.Attributes)
				out := start(t, f, func(o *ServerOptions) { o.TrustForwardedProto = trust }).check(t, in)
				if allowed := out.GetOkResponse() != nil; allowed != want {
					t.Errorf("trusting %v: allowed %v, want %v", trust, allowed, want)
				}
				if reason := out.GetDynamicMetadata().AsMap()["reason"]; !want && reason != "tls_required" {
					t.Errorf("trusting %v: denied for %v", trust, reason)
				}
			})
		}
	}
}

// forwarded adds an x-forwarded-proto.
func forwarded(a *authv3.AttributeContext, value string) {
	header := a.Request.Http.HeaderMap
	header.Headers = append(header.Headers, &corev3.HeaderValue{Key: "x-forwarded-proto", RawValue: []byte(value)})
}

// TestPooledRequestForgetsTLS: one request's TLS is not the next one's.
func TestPooledRequestForgetsTLS(t *testing.T) {
	f := newFixtureWith(t, func(spec *v1alpha1.APIKeyPolicySpec) { spec.RequireTLS = true })
	s := start(t, f, func(o *ServerOptions) { o.TrustForwardedProto = true })
	secure := envoyRequest(request(), true)
	secure.Attributes.Destination = &authv3.AttributeContext_Peer{Principal: "gateway"}
	plain := envoyRequest(request(), true)
	plain.Attributes.Request.Http.Scheme = ""
	for range 20 {
		if s.check(t, secure).GetOkResponse() == nil {
			t.Fatal("denied over TLS")
		}
		if s.check(t, plain).GetDeniedResponse() == nil {
			t.Fatal("allowed without TLS")
		}
	}
}

// TestCheckTakesQueryKeysOff: by the path, which is told to Envoy only where it is
// another.
func TestCheckTakesQueryKeysOff(t *testing.T) {
	s := start(t, newFixtureWith(t, inQueries), nil)
	for target, want := range map[string]string{
		"/v1/stepsies?b=2&api_key=" + token + "&a=%7e&y": "/v1/stepsies?b=2&a=%7e&y",
		"/v1/stepsies?k~1=" + token:                      "/v1/stepsies",
		"/v1/status?api_key=" + token + "&api_key=&x":    "/v1/status?x",
		"/v1/status?x": "",
	} {
		ok := s.check(t, envoyRequest(bare("GET", target), true)).GetOkResponse()
		if ok == nil {
			t.Fatalf("%s is denied", target)
		}
		if got := set(t, ok.GetHeaders())[":path"]; got != want {
			t.Errorf("%s: :path is set to %q, want %q", target, got, want)
		}
		if slices.Contains(ok.GetHeadersToRemove(), "") || len(ok.GetQueryParametersToRemove()) != 0 {
			t.Errorf("%s: %v", target, ok)
		}
	}
	if strings.Contains(s.log.String(), token) {
		t.Error("the token is in the log")
	}
}

// TestCheckQuota: the caller is told of its limits, allowed or not, and never in
// answers that were not counted.
func TestCheckQuota(t *testing.T) {
	f := newFixtureWith(t, plans)
	f.record.Plan = "free"
	s := start(t, f, nil)
	ask := func(path string) *authv3.CheckResponse {
		return s.check(t, envoyRequest(bare("GET", path, Field{"x-api-key", token}, Field{"x-request-id", "req-1"}), true))
	}
	windows := []ratelimit.Window{{Limit: hourly, Remaining: 7, Reset: 90 * time.Second}}
	want := map[string]string{"ratelimit-policy": `"1h";q=100;w=3600`, "ratelimit": `"1h";r=7;t=90`}
	f.limiter.result = ratelimit.Result{Allowed: true, Windows: windows}
	ok := ask("/v1/me").GetOkResponse()
	if diff := cmp.Diff(want, set(t, ok.GetResponseHeadersToAdd())); diff != "" {
		t.Error(diff)
	}
	if got := set(t, ok.GetHeaders())["ratelimit"]; got != "" {
		t.Errorf("the upstream is told %q", got)
	}
	f.limiter.result = ratelimit.Result{Windows: windows, RetryAfter: 90 * time.Second}
	out := ask("/v1/me")
	header := set(t, out.GetDeniedResponse().GetHeaders())
	for name, value := range map[string]string{"retry-after": "90", "ratelimit-policy": want["ratelimit-policy"], "ratelimit": want["ratelimit"]} {
		if header[name] != value {
			t.Errorf("%s: %q, want %q", name, header[name], value)
		}
	}
	if got := out.GetDeniedResponse().GetStatus().GetCode(); got != 429 || out.GetDynamicMetadata().AsMap()["plan"] != "free" {
		t.Errorf("status %d, metadata %v", got, out.GetDynamicMetadata())
	}
	for _, path := range []string{"/v1/free", "/v1/status", "/v1/none"} {
		out := ask(path)
		if len(out.GetOkResponse().GetResponseHeadersToAdd()) != 0 || set(t, out.GetDeniedResponse().GetHeaders())["ratelimit"] != "" {
			t.Errorf("%s: %v", path, out)
		}
	}
}

// TestCheckOwnHeaders: a policy's own header fields are on every denial, and
// Keygate's stay, but for Cache-Control if the policy has one.
func TestCheckOwnHeaders(t *testing.T) {
	for name, tc := range map[string]struct {
		own  []v1alpha1.ErrorHeader
		want map[string]string
	}{
		"none": {nil, map[string]string{"cache-control": "no-store"}},
		"some": {[]v1alpha1.ErrorHeader{{Name: "x-docs", Value: "https://docs.test"}, {Name: "link", Value: `<https://docs.test>; rel="help"`}},
			map[string]string{"cache-control": "no-store", "x-docs": "https://docs.test", "link": `<https://docs.test>; rel="help"`}},
		"caching": {[]v1alpha1.ErrorHeader{{Name: "cache-control", Value: "private"}}, map[string]string{"cache-control": "private"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixtureWith(t, func(spec *v1alpha1.APIKeyPolicySpec) { spec.Errors.Headers = tc.own })
			s := start(t, f, nil)
			for _, r := range []*Request{bare("GET", "/v1/none"), bare("GET", "/v1/none", Field{"content-type", "application/grpc"}), bare("GET", "/v1/me")} {
				header := set(t, s.check(t, envoyRequest(r, true)).GetDeniedResponse().GetHeaders())
				got := map[string]string{}
				for name := range tc.want {
					got[name] = header[name]
				}
				if diff := cmp.Diff(tc.want, got); diff != "" || header["x-request-id"] == "" {
					t.Errorf("%v: %s", header, diff)
				}
			}
		})
	}
}
