package authz

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/policy"
)

func TestDecideTLS(t *testing.T) {
	required := newFixtureWith(t, func(spec *v1alpha1.APIKeyPolicySpec) {
		spec.RequireTLS, spec.Preflight = true, v1alpha1.PreflightAllow
	})
	lacking := outcome{false, policy.TLSRequired, ""}
	for name, tc := range map[string]struct {
		change func(*Request)
		want   outcome
	}{
		"a key":     {func(*Request) {}, lacking},
		"no key":    {func(r *Request) { r.Header = nil }, lacking},
		"no rule":   {func(r *Request) { r.Method, r.Header = "PUT", nil }, lacking},
		"anonymous": {func(r *Request) { r.Path, r.Header = "/v1/status", nil }, lacking},
		"preflight": {func(r *Request) { r.Method, r.Header = "OPTIONS", preflightHeader }, lacking},
		"malformed": {func(r *Request) { r.Path, r.Header = "//", nil }, malformed(DetailPath)},
		"what the caller says": {func(r *Request) {
			r.Header = append(r.Header, Field{":scheme", "https"}, Field{"x-forwarded-proto", "https"})
		}, lacking},
		"another host's":           {func(r *Request) { r.Host, r.Header = "x.test", nil }, noPolicy},
		"over TLS":                 {func(r *Request) { r.TLS = true }, allowed},
		"over TLS, without a key":  {func(r *Request) { r.TLS, r.Header = true, nil }, missing},
		"over TLS, anonymous":      {func(r *Request) { r.TLS, r.Path, r.Header = true, "/v1/status", nil }, anonymous},
		"over TLS, without a rule": {func(r *Request) { r.TLS, r.Method, r.Header = true, "PUT", nil }, noRule},
	} {
		t.Run(name, func(t *testing.T) {
			r := request()
			tc.change(r)
			if diff := cmp.Diff(tc.want, required.outcome(r)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if diff := cmp.Diff(allowed, newFixture(t).outcome(request())); diff != "" {
		t.Errorf("where TLS is not required: %s", diff)
	}
}

// preflightHeader is that of a CORS preflight request.
var preflightHeader = []Field{{"Origin", "https://app.test"}, {"access-control-request-method", "DELETE"}}

func TestDecidePreflight(t *testing.T) {
	letThrough := outcome{true, Anonymous, DetailPreflight}
	origin, method := preflightHeader[0], preflightHeader[1]
	for name, tc := range map[string]struct {
		policy v1alpha1.PreflightPolicy
		method string
		header []Field
		want   outcome
	}{
		"preflight":                 {v1alpha1.PreflightAllow, "OPTIONS", preflightHeader, letThrough},
		"with two keys":             {v1alpha1.PreflightAllow, "OPTIONS", []Field{origin, method, {"x-api-key", "x"}, {"x-api-key", "y"}}, letThrough},
		"denied by the policy":      {v1alpha1.PreflightDeny, "OPTIONS", preflightHeader, noRule},
		"denied by default":         {"", "OPTIONS", preflightHeader, noRule},
		"no Origin":                 {v1alpha1.PreflightAllow, "OPTIONS", []Field{method}, noRule},
		"no method":                 {v1alpha1.PreflightAllow, "OPTIONS", []Field{origin}, noRule},
		"two Origins":               {v1alpha1.PreflightAllow, "OPTIONS", []Field{origin, origin, method}, noRule},
		"two methods":               {v1alpha1.PreflightAllow, "OPTIONS", []Field{origin, method, method}, noRule},
		"empty Origin":              {v1alpha1.PreflightAllow, "OPTIONS", []Field{{"origin", ""}, method}, noRule},
		"empty method":              {v1alpha1.PreflightAllow, "OPTIONS", []Field{origin, {"access-control-request-method", ""}}, noRule},
		"GET":                       {v1alpha1.PreflightAllow, "GET", preflightHeader, missing},
		"OPTIONS in another case":   {v1alpha1.PreflightAllow, "options", preflightHeader, noRule},
		"malformed":                 {v1alpha1.PreflightAllow, "OPTIONS", []Field{origin, method, {"connection", "x-apikey-id"}}, malformed(DetailConnection)},
		"denied where it has a key": {v1alpha1.PreflightDeny, "OPTIONS", []Field{origin, method, {"x-api-key", token}}, noRule},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixtureWith(t, func(spec *v1alpha1.APIKeyPolicySpec) { spec.Preflight = tc.policy })
			if diff := cmp.Diff(tc.want, f.outcome(bare(tc.method, "/v1/stepsies", tc.header...))); diff != "" {
				t.Error(diff)
			}
			if f.keys.lookups != 0 {
				t.Error("a key was looked up")
			}
		})
	}
}

// plans has free (limited), pro (which includes it, limited otherwise) and business
// (unlimited, includes pro); test keys are free.
func plans(spec *v1alpha1.APIKeyPolicySpec) {
	spec.Environments = append(spec.Environments, v1alpha1.Environment{Name: "test", Prefix: "tk_", Plan: "free"})
	spec.Plans = []v1alpha1.Plan{
		{Name: "free", Limits: []v1alpha1.Limit{limit(100, "1h")}},
		{Name: "pro", Includes: []v1alpha1.PlanName{"free"}, Limits: []v1alpha1.Limit{limit(1000, "1h"), limit(10, "1s")}},
		{Name: "business", Includes: []v1alpha1.PlanName{"pro"}},
	}
	zero, five := int32(0), int32(5)
	spec.Rules = append(spec.Rules,
		v1alpha1.Rule{Paths: []v1alpha1.PathPattern{"/pro"}, AnyKey: true, Plan: "pro", Cost: &five},
		v1alpha1.Rule{Paths: []v1alpha1.PathPattern{"/free"}, AnyKey: true, Cost: &zero},
		v1alpha1.Rule{Paths: []v1alpha1.PathPattern{"/write"}, Scopes: []v1alpha1.ScopeName{"write"}, Plan: "business"})
}

func TestDecidePlan(t *testing.T) {
	planLacking := outcome{false, policy.PlanRequired, ""}
	for name, tc := range map[string]struct {
		path, environment, plan, byDefault string
		want                               outcome
	}{
		"the very plan":                  {"/v1/pro", "live", "pro", "", allowed},
		"one that includes it":           {"/v1/pro", "live", "business", "", allowed},
		"a lesser one":                   {"/v1/pro", "live", "free", "", planLacking},
		"none":                           {"/v1/pro", "live", "", "", planLacking},
		"the default":                    {"/v1/pro", "live", "", "pro", allowed},
		"a lesser default":               {"/v1/pro", "live", "", "free", planLacking},
		"the environment's":              {"/v1/pro", "test", "free", "business", planLacking},
		"the environment's, unsaid":      {"/v1/pro", "test", "", "business", planLacking},
		"another than the environment's": {"/v1/me", "test", "business", "", invalid(DetailNotGranted)},
		"undeclared":                     {"/v1/me", "live", "gold", "pro", invalid(DetailNotGranted)},
		"a rule without a plan":          {"/v1/me", "live", "", "", allowed},
		"scope before plan":              {"/v1/write", "live", "free", "", scopeLacking},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixtureWith(t, func(spec *v1alpha1.APIKeyPolicySpec) {
				plans(spec)
				spec.DefaultPlan = v1alpha1.PlanName(tc.byDefault)
			})
			f.limiter.result.Allowed = true
			f.record.Environment, f.record.Plan = tc.environment, tc.plan
			if diff := cmp.Diff(tc.want, f.outcome(bare("GET", tc.path, Field{"x-api-key", token}))); diff != "" {
				t.Error(diff)
			}
			if len(f.limiter.asked) != 0 && tc.want != allowed {
				t.Errorf("a denial was counted: %v", f.limiter.asked)
			}
		})
	}
}

// TestRequestIDGoesUpstream: what is sound is kept, everything else is replaced.
func TestRequestIDGoesUpstream(t *testing.T) {
	for name, tc := range map[string]struct {
		header []Field
		kept   bool
	}{
		"sound":       {[]Field{{"X-Request-Id", "a-1._B"}}, true},
		"none":        {nil, false},
		"unsound":     {[]Field{{"x-request-id", "a b"}}, false},
		"empty":       {[]Field{{"x-request-id", ""}}, false},
		"two":         {[]Field{{"x-request-id", "a"}, {"x-request-id", "a"}}, false},
		"one of them": {[]Field{{"x-request-id", ""}, {"x-request-id", "a"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			r := bare("GET", "/v1/status", tc.header...)
			v := f.Decide(context.Background(), r)
			if kept := len(tc.header) > 0 && v.RequestID == tc.header[0].Value; kept != tc.kept || v.RequestID == "" {
				t.Errorf("got %q", v.RequestID)
			}
			// What goes upstream is the one that was decided on, if any does.
			set := set(t, okResponse(newUpstream(f.policy), &v, r).Headers)
			want := map[string]string{}
			if !tc.kept && len(tc.header) > 0 {
				want["x-request-id"] = v.RequestID
			}
			if diff := cmp.Diff(want, set); diff != "" {
				t.Error(diff)
			}
		})
	}
}
