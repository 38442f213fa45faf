package policy_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/pkg/policy"
)

func TestReasons(t *testing.T) {
	want := map[policy.Reason]int{
		"malformed_request": 400,
		"missing_key":       401, "malformed_key": 401, "invalid_key": 401,
		"insufficient_scope": 403, "no_policy": 403, "no_rule": 403,
		"unavailable": 503,
	}
	got := map[policy.Reason]int{}
	for _, r := range policy.Reasons() {
		got[r] = r.Status()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(policy.Reasons()) != len(want) {
		t.Errorf("%d reasons, some of them twice", len(policy.Reasons()))
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
		if got := reason.Status(); got != 503 {
			t.Errorf("%q has status %d", reason, got)
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
