package policy

import (
	"fmt"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"keygate.dev/keygate/api/v1alpha1"
)

// manyMessages is a policy with a message per rule, which the body repeats.
func manyMessages(rules, placeholders, message int) *Source {
	src := &Source{Namespace: "tenant", Name: "large", UID: "u"}
	src.Spec.Environments = []v1alpha1.Environment{{Name: "live", Prefix: "sk_"}}
	src.Spec.Scopes = []v1alpha1.Scope{{Name: "read"}}
	body := `["` + strings.Repeat("{message}", placeholders) + `","{keyId}"]`
	src.Spec.Errors.Bodies = map[string]apiextensionsv1.JSON{"403": {Raw: []byte(body)}}
	for i := range rules {
		src.Spec.Rules = append(src.Spec.Rules, v1alpha1.Rule{
			Paths:   []v1alpha1.PathPattern{v1alpha1.PathPattern(fmt.Sprintf("/p%d", i))},
			Scopes:  []v1alpha1.ScopeName{"read"},
			Message: fmt.Sprintf("%03d", i) + strings.Repeat("<", message-3),
		})
	}
	return src
}

// TestRenderedBodiesAreBounded: a few KiB of a policy can't take much memory of
// every extauthz, nor much time to be refused.
func TestRenderedBodiesAreBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		rules, placeholders, message int
		problem                      string
	}{
		"a long message for every rule":      {128, 1, 512, ""},
		"repeated until it is too much":      {128, 63, 512, "have more than 1024 KiB"},
		"more placeholders than can be":      {1, 64, 10, "more than 64 placeholders"},
		"as many placeholders as there can":  {1, 63, 10, ""},
		"much for each rule, and many rules": {24, 20, 512, "have more than 1024 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Compile(manyMessages(tc.rules, tc.placeholders, tc.message))
			if tc.problem == "" && err != nil || tc.problem != "" && (err == nil || !strings.Contains(err.Error(), tc.problem)) {
				t.Errorf("got %v, want %q", err, tc.problem)
			}
		})
	}
}

// TestRulesShareBodies: a body in which nothing is a rule's own is rendered once,
// however many rules there are and whatever they say.
func TestRulesShareBodies(t *testing.T) {
	src := manyMessages(128, 0, 512)
	src.Spec.Errors.Bodies["403"] = apiextensionsv1.JSON{Raw: []byte(`"{requestId}` + strings.Repeat("a", 15<<10) + `"`)}
	if _, err := Compile(src); err != nil {
		t.Error(err)
	}
}

// TestRenderedBodiesMayFillTheirBound: the last byte is still in.
func TestRenderedBodiesMayFillTheirBound(t *testing.T) {
	for spent, want := range map[int]bool{0: false, maxRendered: false, maxRendered + 1: true} {
		if got := (&denials{spent: spent}).full(); got != want {
			t.Errorf("full with %d bytes: %v", spent, got)
		}
	}
}

// TestIdentityHeadersAreNotTheRequestID: the request id would be the caller's name.
func TestIdentityHeadersAreNotTheRequestID(t *testing.T) {
	src := manyMessages(1, 1, 10)
	src.Spec.Upstream.Prefix = "x-request-"
	if _, err := Compile(src); err == nil || !strings.Contains(err.Error(), "spec.upstream.prefix") {
		t.Errorf("got %v", err)
	}
}
