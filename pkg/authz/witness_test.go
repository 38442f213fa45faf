package authz

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// TestWitness: which verdicts are told, and as what.
func TestWitness(t *testing.T) {
	past := now.Add(-time.Hour)
	with := func(target string) *Request {
		return bare("GET", target, Field{"x-api-key", token}, Field{"x-request-id", "req-1"})
	}
	for name, tc := range map[string]struct {
		spoil   func(*fixture)
		request *Request
		used    bool
		refused string
	}{
		"allowed":               {func(*fixture) {}, with("/v1/me"), true, ""},
		"allowed, uncounted":    {func(f *fixture) { f.limiter.err = errors.New("down") }, with("/v1/open"), true, ""},
		"anonymous":             {func(*fixture) {}, with("/v1/status"), false, ""},
		"no key":                {func(*fixture) {}, bare("GET", "/v1/me"), false, ""},
		"unknown":               {func(f *fixture) { clear(f.keys.records) }, with("/v1/me"), false, ""},
		"revoked":               {func(f *fixture) { f.record.State = apikey.Revoked }, with("/v1/me"), false, "ci revoked"},
		"rotated":               {func(f *fixture) { f.record.State = apikey.Rotated }, with("/v1/me"), false, "ci rotated"},
		"deleted":               {func(f *fixture) { f.record.RetiredAt = &past }, with("/v1/me"), false, "ci revoked"},
		"expired":               {func(f *fixture) { f.record.ExpiresAt = &past }, with("/v1/me"), false, "ci expired"},
		"suspended":             {func(f *fixture) { f.record.State = apikey.Suspended }, with("/v1/me"), false, ""},
		"pending":               {func(f *fixture) { f.record.State = apikey.Pending }, with("/v1/me"), false, ""},
		"not granted":           {func(f *fixture) { f.record.State = apikey.NotGranted }, with("/v1/me"), false, ""},
		"another policy's":      {func(f *fixture) { f.record.Policy.UID, f.record.State = "other", apikey.Revoked }, with("/v1/me"), false, ""},
		"lacks a scope":         {func(f *fixture) { f.record.Scopes = nil }, with("/v1/stepsies"), false, ""},
		"from elsewhere":        {func(f *fixture) { f.record.AllowedCIDRs = networks("192.0.2.0/24") }, with("/v1/me"), false, ""},
		"the store is away":     {func(f *fixture) { f.fail(0) }, with("/v1/me"), false, ""},
		"revoked, no such rule": {func(f *fixture) { f.record.State = apikey.Revoked }, with("/v1/none"), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixtureWith(t, func(spec *v1alpha1.APIKeyPolicySpec) {
				plans(spec)
				spec.LimitFailure = v1alpha1.LimitFailOpen
				spec.Rules = append(spec.Rules, v1alpha1.Rule{Paths: []v1alpha1.PathPattern{"/open"}, AnyKey: true})
			})
			f.limiter.result.Allowed, f.record.Plan = true, "free"
			tc.spoil(f)
			w := &witnessed{}
			in := envoyRequest(tc.request, true)
			in.Attributes.Source = &authv3.AttributeContext_Peer{Address: socket("::ffff:203.0.113.7")}
			start(t, f, func(o *ServerOptions) { o.Witness = w }).check(t, in)
			if used := len(w.used) == 1 && w.used[0] == f.record; used != tc.used || len(w.used) > 1 {
				t.Errorf("used: %v", w.used)
			}
			var want []string
			if tc.refused != "" {
				want = []string{tc.refused}
			}
			if diff := cmp.Diff(want, w.refused); diff != "" {
				t.Error(diff)
			}
			for _, from := range w.from {
				if from != netip.MustParseAddr("203.0.113.7") {
					t.Errorf("from %s", from)
				}
			}
			for _, at := range w.at {
				if age := time.Since(at); age < 0 || age > time.Minute {
					t.Errorf("at %s", at)
				}
			}
		})
	}
}
