package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// grpcPolicy has gRPC methods for routes.
func grpcPolicy(host string) string {
	return `
hosts: [` + host + `]
basePath: /v1
environments: [{name: live, prefix: pk_}]
scopes: [{name: read}, {name: write}]
defaultPlan: one
plans: [{name: one, limits: [{requests: 1, per: 1h}]}, {name: pro}]
rules:
- {basePath: /, methods: [POST], paths: ["/stepsies.v1.Stepsies/Get"], scopes: [read]}
- {basePath: /, paths: ["/stepsies.v1.Stepsies/Create"], scopes: [write], message: "Nötig: 100 % write."}
- {basePath: /, paths: ["/stepsies.v1.Media/{method}"], anyKey: true, plan: pro, cost: 0}
errors: {docs: "https://docs.test/auth", contentType: application/json, bodies: {default: {error: "{message}"}}}`
}

// dial makes a gRPC client of a listener, GATEWAY or GATEWAY_TLS.
func (s *stack) dial(tb testing.TB, listener, host string) *grpc.ClientConn {
	tb.Helper()
	scheme, address, _ := strings.Cut(s.vars[listener], "://")
	creds := insecure.NewCredentials()
	if scheme == "https" {
		ca, err := os.ReadFile(s.vars["GATEWAY_CA"])
		if err != nil {
			tb.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		creds = credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "localhost"})
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds), grpc.WithAuthority(hostFor(scheme, host)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// hostFor is the authority that a client sends. With TLS a client's authority has to
// be a name of the certificate.
func hostFor(scheme, host string) string {
	if scheme == "https" {
		return "localhost"
	}
	return host
}

// withHeader adds a header field to calls.
func withHeader(ctx context.Context, name, value string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, name, value)
}

// invoke calls a method and returns what the upstream saw.
func invoke(ctx context.Context, conn *grpc.ClientConn, method, token string, options ...grpc.CallOption) (echo, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-request-id", "req-1", "x-apikey-name", "spoofed")
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	var e echo
	text := &wrapperspb.StringValue{}
	if err := conn.Invoke(ctx, method, &emptypb.Empty{}, text, options...); err != nil {
		return e, err
	}
	return e, json.Unmarshal([]byte(text.GetValue()), &e)
}

// TestGRPC: a gRPC client is let through to the upstream, and a denial is an error
// that it can read: code, message and details.
func TestGRPC(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "grpc", grpcPolicy(host)+"\n")
	s.policy(t, ns, "grpc-tls", grpcPolicy("localhost")+"\nrequireTLS: true")
	for listener, policy := range map[string]string{"GATEWAY": "grpc", "GATEWAY_TLS": "grpc-tls"} {
		t.Run(listener, func(t *testing.T) {
			conn := s.dial(t, listener, host)
			key := func(name, more string) string {
				return s.key(t, ns, policy+"-"+name, "policyRef: {name: "+policy+"}\n"+more)
			}
			reader := key("reader", "scopes: [read]")
			var header metadata.MD
			e, err := invoke(t.Context(), conn, "/stepsies.v1.Stepsies/Get", reader, grpc.Header(&header))
			if err != nil {
				t.Fatal(err)
			}
			if e.Path != "/stepsies.v1.Stepsies/Get" || e.first("x-apikey-name") != policy+"-reader" || e.first("authorization") != "" {
				t.Errorf("the upstream got %+v", e)
			}
			if got := header.Get("ratelimit"); len(got) != 1 || !strings.HasPrefix(got[0], `"1h";r=0;`) {
				t.Errorf("RateLimit: %q", got)
			}
			denials(t, conn, reader, key("none", "plan: pro"))
		})
	}
}

// denials calls methods that are denied, with a key that may read and has used up
// its limit, and with one that has no scope.
func denials(t *testing.T, conn *grpc.ClientConn, reader, none string) {
	for name, tc := range map[string]struct {
		method, token string
		code          codes.Code
		message       string
		reason        string
		more          map[string]string
	}{
		"no key":      {"/stepsies.v1.Stepsies/Get", "", codes.Unauthenticated, "needs an API key", "MISSING_KEY", nil},
		"unknown key": {"/stepsies.v1.Stepsies/Get", "pk_unknown", codes.Unauthenticated, "not valid", "INVALID_KEY", nil},
		"scope":       {"/stepsies.v1.Stepsies/Create", reader, codes.PermissionDenied, "Nötig: 100 % write.", "INSUFFICIENT_SCOPE", map[string]string{"requiredScopes": "write"}},
		"other scope": {"/stepsies.v1.Stepsies/Get", none, codes.PermissionDenied, "lacks a scope", "INSUFFICIENT_SCOPE", map[string]string{"requiredScopes": "read"}},
		"plan":        {"/stepsies.v1.Media/Verify", reader, codes.PermissionDenied, "plan", "PLAN_REQUIRED", map[string]string{"requiredPlan": "pro"}},
		"limit":       {"/stepsies.v1.Stepsies/Get", reader, codes.ResourceExhausted, "", "RATE_LIMITED", map[string]string{"limit": "1"}},
		"no rule":     {"/stepsies.v1.Stepsies/Drop", reader, codes.PermissionDenied, "not open", "NO_RULE", nil},
		"malformed":   {"/stepsies.v1.Stepsies//Get", reader, codes.InvalidArgument, "ambiguous", "MALFORMED_REQUEST", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var trailer metadata.MD // all that there is of an answer without a message
			_, err := invoke(t.Context(), conn, tc.method, tc.token, grpc.Trailer(&trailer))
			s, ok := status.FromError(err)
			if !ok || s.Code() != tc.code || !strings.Contains(s.Message(), tc.message) || strings.HasPrefix(s.Message(), "{") {
				t.Fatalf("got %v", err)
			}
			var info *errdetails.ErrorInfo
			var retry *errdetails.RetryInfo
			for _, detail := range s.Details() {
				switch d := detail.(type) {
				case *errdetails.ErrorInfo:
					info = d
				case *errdetails.RetryInfo:
					retry = d
				}
			}
			want := map[string]string{"requestId": "req-1", "docs": "https://docs.test/auth"}
			for name, value := range tc.more {
				want[name] = value
			}
			got := info.GetMetadata()
			delete(got, "keyId")
			if diff := cmp.Diff(want, got); diff != "" || info.GetReason() != tc.reason || info.GetDomain() != "keygate.dev" {
				t.Errorf("%v: %s", info, diff)
			}
			if wait := retry.GetRetryDelay().AsDuration(); (wait > 59*time.Minute) != (tc.code == codes.ResourceExhausted) {
				t.Errorf("RetryInfo of %v", wait)
			}
			if got := trailer.Get("x-request-id"); len(got) != 1 || got[0] != "req-1" {
				t.Errorf("x-request-id: %q", got)
			}
		})
	}
}
