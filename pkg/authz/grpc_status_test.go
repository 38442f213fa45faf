package authz

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
	"keygate.dev/keygate/pkg/ratelimit"
)

func TestGRPCCallers(t *testing.T) {
	for name, tc := range map[string]struct {
		values []string
		want   bool
	}{
		"plain": {[]string{"application/grpc"}, true}, "with a codec": {[]string{"application/grpc+proto"}, true},
		"with any codec": {[]string{"application/grpc+"}, true}, "none": {nil, false}, "empty": {[]string{""}, false},
		"gRPC-Web": {[]string{"application/grpc-web+proto"}, false}, "a parameter": {[]string{"application/grpc;x=y"}, false},
		"another case": {[]string{"Application/grpc"}, false}, "another": {[]string{"application/json"}, false},
		"two": {[]string{"application/grpc", "application/grpc"}, false}, "joined": {[]string{"application/grpc,application/grpc"}, false},
	} {
		r := &Request{}
		for _, value := range tc.values {
			r.Header = append(r.Header, Field{"Content-Type", value})
		}
		if got := r.grpc(); got != tc.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// readDetails reads grpc-status-details-bin as a client does.
func readDetails(t *testing.T, header string) (*status.Status, []proto.Message) {
	t.Helper()
	data, err := base64.RawStdEncoding.DecodeString(header)
	if err != nil {
		t.Fatal(err)
	}
	s := &status.Status{}
	if err := proto.Unmarshal(data, s); err != nil {
		t.Fatal(err)
	}
	var details []proto.Message
	for _, packed := range s.GetDetails() {
		detail, err := packed.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		details = append(details, detail)
	}
	return s, details
}

// TestCheckDeniesGRPC: each denial as a gRPC status, without a body, which Envoy
// would make the message of.
func TestCheckDeniesGRPC(t *testing.T) {
	grpc := Field{"content-type", "application/grpc"}
	id := Field{"x-request-id", "req-1"}
	key := Field{"x-api-key", token}
	for name, tc := range map[string]struct {
		spoil   func(*fixture)
		request *Request
		code    codes.Code
		reason  string
		more    map[string]string
		retry   time.Duration
	}{
		"malformed": {nil, bare("POST", "/v1//me", grpc, id), codes.InvalidArgument, "MALFORMED_REQUEST", nil, 0},
		"missing":   {nil, bare("POST", "/v1/me", grpc, id), codes.Unauthenticated, "MISSING_KEY", nil, 0},
		"scope": {nil, bare("POST", "/v1/stepsies", grpc, id, key), codes.PermissionDenied, "INSUFFICIENT_SCOPE",
			map[string]string{"keyId": "?", "requiredScopes": "write"}, 0},
		"plan": {nil, bare("POST", "/v1/pro", grpc, id, key), codes.PermissionDenied, "PLAN_REQUIRED",
			map[string]string{"keyId": "?", "requiredPlan": "pro"}, 0},
		"limit": {func(f *fixture) {
			f.limiter.result = ratelimit.Result{Windows: []ratelimit.Window{{Limit: hourly, Reset: 1500 * time.Millisecond}}, RetryAfter: 1500 * time.Millisecond}
		}, bare("POST", "/v1/me", grpc, id, key), codes.ResourceExhausted, "RATE_LIMITED", map[string]string{"keyId": "?", "limit": "100"}, 2 * time.Second},
		"unavailable": {func(f *fixture) { f.fail(0); clear(f.keys.records) }, bare("POST", "/v1/me", grpc, id, key), codes.Unavailable, "UNAVAILABLE",
			map[string]string{"keyId": "?"}, 5 * time.Second},
		"suspended": {func(f *fixture) { f.record.State = apikey.Suspended }, bare("POST", "/v1/me", grpc, id, key), codes.Unauthenticated, "INVALID_KEY",
			map[string]string{"keyId": "?"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixtureWith(t, func(spec *v1alpha1.APIKeyPolicySpec) {
				plans(spec)
				spec.Errors.Docs = "https://docs.test/auth"
			})
			f.record.Plan = "free"
			if tc.spoil != nil {
				tc.spoil(f)
			}
			out := start(t, f, nil).check(t, envoyRequest(tc.request, true))
			denied := out.GetDeniedResponse()
			if tc.code == codes.Unavailable {
				denied = out.GetErrorResponse()
			}
			if denied.GetBody() != "" || codes.Code(out.GetStatus().GetCode()) != tc.code {
				t.Fatalf("got %v", out)
			}
			header := set(t, denied.GetHeaders())
			if got := header["grpc-status"]; got != strconv.Itoa(int(tc.code)) {
				t.Errorf("grpc-status %q, want %d", got, tc.code)
			}
			s, details := readDetails(t, header["grpc-status-details-bin"])
			message, err := url.PathUnescape(header["grpc-message"])
			if err != nil || message == "" || message != s.GetMessage() || s.GetCode() != int32(tc.code) {
				t.Errorf("grpc-message %q, details %v", header["grpc-message"], s)
			}
			metadata := map[string]string{"requestId": "req-1", "docs": "https://docs.test/auth"}
			for name, value := range tc.more {
				if value == "?" {
					value = f.keys.digests(token)[0].ID()
				}
				metadata[name] = value
			}
			want := []proto.Message{&errdetails.ErrorInfo{Reason: tc.reason, Domain: "keygate.dev", Metadata: metadata}}
			if tc.retry > 0 {
				want = append(want, &errdetails.RetryInfo{RetryDelay: durationpb.New(tc.retry)})
				if got := header["retry-after"]; got != strconv.Itoa(int(tc.retry/time.Second)) {
					t.Errorf("retry-after %q, want %v", got, tc.retry)
				}
			}
			if diff := cmp.Diff(want, details, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
			if _, typed := header["content-type"]; typed || header["x-request-id"] != "req-1" {
				t.Errorf("header %v", header)
			}
		})
	}
}

func TestEncodeMessage(t *testing.T) {
	for message, want := range map[string]string{
		"plain text.": "plain text.", "100 %": "100 %25", "a\nb": "a%0Ab", "ö": "%C3%B6", "~ !": "~ !", "\x7f": "%7F", "\x1f": "%1F", "": "",
		"%41": "%2541",
	} {
		if got := encodeMessage(message); got != want {
			t.Errorf("%q: got %q, want %q", message, got, want)
		}
	}
}

// TestDenialStatusIsNeverOK: not for what is no reason for a denial either.
func TestDenialStatusIsNeverOK(t *testing.T) {
	for _, reason := range append(policy.Reasons(), Allowed, Anonymous, "", "nonsense") {
		if s := denialStatus(reason); s == nil || s.GetCode() == int32(codes.OK) {
			t.Errorf("%q: %v", reason, s)
		}
	}
}
