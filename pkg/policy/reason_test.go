package policy_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/pkg/policy"
)

// Reasons, in the order of judgement, with what callers get.
func TestReasons(t *testing.T) {
	type answer struct {
		reason policy.Reason
		status int
		grpc   uint32
	}
	want := []answer{
		{"malformed_request", 400, 3},
		{"no_policy", 403, 7},
		{"tls_required", 403, 7},
		{"no_rule", 403, 7},
		{"missing_key", 401, 16},
		{"malformed_key", 401, 16},
		{"invalid_key", 401, 16},
		{"address_denied", 403, 7},
		{"insufficient_scope", 403, 7},
		{"plan_required", 403, 7},
		{"rate_limited", 429, 8},
		{"unavailable", 503, 14},
	}
	var got []answer
	for _, r := range policy.Reasons() {
		got = append(got, answer{r, r.Status(), r.GRPCCode()})
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(answer{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReasonsAreACopy(t *testing.T) {
	first := policy.Reasons()
	clear(first)
	if slices.Contains(policy.Reasons(), "") {
		t.Error("the table of reasons can be written to")
	}
}

func TestUnknownReasonIsAFailure(t *testing.T) {
	for _, reason := range []policy.Reason{"", "allowed", "made_up"} {
		if status, code := reason.Status(), reason.GRPCCode(); status != 503 || code != 14 {
			t.Errorf("%q has status %d and code %d", reason, status, code)
		}
		if policy.GenericDenial(reason) != policy.GenericDenial(policy.Unavailable) {
			t.Errorf("%q is not answered as unavailable", reason)
		}
		p := compile(t, "")
		if p.Denial(reason, nil) != p.Denial(policy.Unavailable, nil) {
			t.Errorf("%q is not answered as unavailable by a policy", reason)
		}
	}
}
