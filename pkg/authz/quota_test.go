package authz

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
	"keygate.dev/keygate/pkg/ratelimit"
)

// limit is a limit of a plan.
func limit(requests int64, per string) v1alpha1.Limit {
	d, err := time.ParseDuration(per)
	if err != nil {
		panic(err)
	}
	return v1alpha1.Limit{Requests: requests, Per: metav1.Duration{Duration: d}}
}

var (
	hourly  = ratelimit.Limit{Requests: 100, Per: time.Hour}
	proHour = ratelimit.Limit{Requests: 1000, Per: time.Hour}
	proSec  = ratelimit.Limit{Requests: 10, Per: time.Second}
)

// TestDecideCounts: who is counted, under which limits, at what cost.
func TestDecideCounts(t *testing.T) {
	for name, tc := range map[string]struct {
		path, plan, environment string
		want                    []asked
	}{
		"one limit":                  {"/v1/me", "free", "live", []asked{{"uid-ci", []ratelimit.Limit{hourly}, 1}}},
		"two limits, not inherited":  {"/v1/me", "pro", "live", []asked{{"uid-ci", []ratelimit.Limit{proSec, proHour}, 1}}},
		"the rule's cost":            {"/v1/pro", "pro", "live", []asked{{"uid-ci", []ratelimit.Limit{proSec, proHour}, 5}}},
		"a rule of no cost":          {"/v1/free", "free", "live", nil},
		"a plan without limits":      {"/v1/me", "business", "live", nil},
		"no plan":                    {"/v1/me", "", "live", nil},
		"the environment's own plan": {"/v1/me", "", "test", []asked{{"uid-ci", []ratelimit.Limit{hourly}, 1}}},
		"anonymous":                  {"/v1/status", "free", "live", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixtureWith(t, plans)
			f.limiter.result = ratelimit.Result{Allowed: true, Windows: []ratelimit.Window{{Limit: hourly, Remaining: 99, Reset: time.Hour}}}
			f.record.Plan, f.record.Environment = tc.plan, tc.environment
			v := f.Decide(context.Background(), bare("GET", tc.path, Field{"x-api-key", token}))
			if !v.Allow || v.Detail != "" {
				t.Errorf("not allowed: %s %s", v.Reason, v.Detail)
			}
			if diff := cmp.Diff(tc.want, f.limiter.asked); diff != "" {
				t.Error(diff)
			}
			if counted := len(v.Quota.Windows) > 0; counted != (tc.want != nil) {
				t.Errorf("the verdict tells of %v", v.Quota)
			}
		})
	}
}

// TestOnlyAllowsAreCounted: nobody can use up another's quota, nor one's own, with
// what is denied anyway.
func TestOnlyAllowsAreCounted(t *testing.T) {
	past := now.Add(-time.Second)
	key := Field{"x-api-key", token}
	for name, tc := range map[string]struct {
		spoil   func(*apikey.Record)
		request *Request
	}{
		"suspended":  {func(r *apikey.Record) { r.State = apikey.Suspended }, bare("GET", "/v1/me", key)},
		"revoked":    {func(r *apikey.Record) { r.State = apikey.Revoked }, bare("GET", "/v1/me", key)},
		"expired":    {func(r *apikey.Record) { r.ExpiresAt = &past }, bare("GET", "/v1/me", key)},
		"of another": {func(r *apikey.Record) { r.Policy.UID = "x" }, bare("GET", "/v1/me", key)},
		"scope":      {func(*apikey.Record) {}, bare("POST", "/v1/stepsies", key)},
		"plan":       {func(*apikey.Record) {}, bare("GET", "/v1/pro", key)},
		"no rule":    {func(*apikey.Record) {}, bare("GET", "/v1/none", key)},
		"two keys":   {func(*apikey.Record) {}, bare("GET", "/v1/me", key, key)},
		"malformed":  {func(*apikey.Record) {}, bare("GET", "/v1//me", key)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixtureWith(t, plans)
			f.record.Plan = "free"
			tc.spoil(f.record)
			if v := f.Decide(context.Background(), tc.request); v.Allow || len(f.limiter.asked) != 0 {
				t.Errorf("allow %v, counted %v", v.Allow, f.limiter.asked)
			}
		})
	}
}

func TestDecideLimited(t *testing.T) {
	windows := []ratelimit.Window{{Limit: proSec, Remaining: 4, Reset: 300 * time.Millisecond}, {Limit: proHour, Reset: 90500 * time.Millisecond}}
	f := newFixtureWith(t, plans)
	f.record.Plan = "pro"
	f.limiter.result = ratelimit.Result{Windows: windows, RetryAfter: windows[1].Reset}
	v := f.Decide(context.Background(), bare("GET", "/v1/pro", Field{"x-api-key", token}, Field{"x-request-id", "r"}))
	if diff := cmp.Diff(outcome{false, policy.RateLimited, ""}, outcome{v.Allow, v.Reason, v.Detail}); diff != "" {
		t.Fatal(diff)
	}
	want := policy.Values{RequestID: "r", KeyID: f.record.Digest.ID(), RetryAfter: 91, Limit: "1000"}
	if diff := cmp.Diff(want, v.values(v.Denial())); diff != "" {
		t.Error(diff)
	}
	if v.KeyID == "" || v.Record != f.record {
		t.Error("operators are not told whose key it was")
	}
}

func TestDecideLimiterFails(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	for name, tc := range map[string]struct {
		failure v1alpha1.LimitFailure
		onTake  func()
		ctx     context.Context
		want    outcome
	}{
		"closed":              {v1alpha1.LimitFailClosed, nil, context.Background(), unavailable(DetailLimit)},
		"closed by default":   {"", nil, context.Background(), unavailable(DetailLimit)},
		"open":                {v1alpha1.LimitFailOpen, nil, context.Background(), outcome{true, Allowed, DetailLimitUnknown}},
		"open, asker is gone": {v1alpha1.LimitFailOpen, cancel, gone, unavailable(DetailCancelled)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixtureWith(t, func(spec *v1alpha1.APIKeyPolicySpec) { plans(spec); spec.LimitFailure = tc.failure })
			f.record.Plan = "free"
			f.limiter.err, f.limiter.onTake = errors.New("down"), tc.onTake
			// What comes beside an error counts for nothing.
			f.limiter.result = ratelimit.Result{Allowed: true, Windows: []ratelimit.Window{{Limit: hourly}}}
			v := f.Decide(tc.ctx, bare("GET", "/v1/me", Field{"x-api-key", token}))
			if diff := cmp.Diff(tc.want, outcome{v.Allow, v.Reason, v.Detail}); diff != "" {
				t.Error(diff)
			}
			if len(v.Quota.Windows) != 0 {
				t.Errorf("the caller is told of %v", v.Quota)
			}
		})
	}
}

// TestRateLimitHeaders: lists of structured fields, times rounded up.
func TestRateLimitHeaders(t *testing.T) {
	window := func(requests int64, per time.Duration, remaining int64, reset time.Duration) ratelimit.Window {
		return ratelimit.Window{Limit: ratelimit.Limit{Requests: requests, Per: per}, Remaining: remaining, Reset: reset}
	}
	for name, tc := range map[string]struct {
		windows           []ratelimit.Window
		wantPolicy, wants string
	}{
		"an hour":      {[]ratelimit.Window{window(100, time.Hour, 0, time.Nanosecond)}, `"1h";q=100;w=3600`, `"1h";r=0;t=1`},
		"a day":        {[]ratelimit.Window{window(1, 24*time.Hour, 1, 24*time.Hour)}, `"24h";q=1;w=86400`, `"24h";r=1;t=86400`},
		"minutes":      {[]ratelimit.Window{window(5, 90*time.Minute, 2, 61*time.Second)}, `"90m";q=5;w=5400`, `"90m";r=2;t=61`},
		"seconds":      {[]ratelimit.Window{window(5, 90*time.Second, 2, 1001*time.Millisecond)}, `"90s";q=5;w=90`, `"90s";r=2;t=2`},
		"a second":     {[]ratelimit.Window{window(10, time.Second, 9, time.Second)}, `"1s";q=10;w=1`, `"1s";r=9;t=1`},
		"two of them":  {[]ratelimit.Window{window(10, time.Second, 9, 5), window(1000, time.Hour, 641, 1204*time.Second)}, `"1s";q=10;w=1, "1h";q=1000;w=3600`, `"1s";r=9;t=1, "1h";r=641;t=1204`},
		"the most":     {[]ratelimit.Window{window(1_000_000_000, 8784*time.Hour, 999_999_999, 8784*time.Hour)}, `"8784h";q=1000000000;w=31622400`, `"8784h";r=999999999;t=31622400`},
		"no remainder": {[]ratelimit.Window{window(1, time.Minute, 0, time.Minute)}, `"1m";q=1;w=60`, `"1m";r=0;t=60`},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff([]string{tc.wantPolicy, tc.wants}, []string{rateLimitPolicy(tc.windows), rateLimit(tc.windows)}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPoliciesLimitsAreCounted: a limiter takes every limit that a policy can have.
func TestPoliciesLimitsAreCounted(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		var given []v1alpha1.Limit
		seen := map[time.Duration]bool{}
		for range 1 + random.IntN(4) {
			per := time.Second * time.Duration([]int64{1, 1 + random.Int64N(60), 1 + random.Int64N(366*86400), 366 * 86400}[random.IntN(4)])
			if !seen[per] {
				seen[per] = true
				given = append(given, v1alpha1.Limit{Requests: 1 + random.Int64N(1_000_000_000), Per: metav1.Duration{Duration: per}})
			}
		}
		f := newFixtureWith(t, func(spec *v1alpha1.APIKeyPolicySpec) {
			plans(spec)
			spec.Plans[0].Limits = given
		})
		var counted []ratelimit.Limit
		for _, l := range f.policy.Limits("free") {
			counted = append(counted, ratelimit.Limit(l))
		}
		if err := ratelimit.CheckLimits(counted); err != nil || len(counted) != len(given) {
			t.Errorf("%v: %v", counted, err)
		}
	}
}

// TestRealLimiter: the header fields of a real count, and a Retry-After that is true.
func TestRealLimiter(t *testing.T) {
	f := newFixtureWith(t, plans)
	clock := now
	memory := ratelimit.NewMemory(ratelimit.Options{Now: func() time.Time { return clock }})
	defer memory.Close()
	f.Limiter = memory
	f.record.Plan = "pro"
	r := bare("GET", "/v1/pro", Field{"x-api-key", token}) // costs 5 of 10 a second
	ask := func() Verdict { return f.Decide(context.Background(), r) }
	if v := ask(); !v.Allow || rateLimit(v.Quota.Windows) != `"1s";r=5;t=1, "1h";r=995;t=3600` {
		t.Errorf("first: %v %s", v.Allow, rateLimit(v.Quota.Windows))
	}
	clock = clock.Add(400 * time.Millisecond)
	if v := ask(); !v.Allow || rateLimit(v.Quota.Windows) != `"1s";r=0;t=1, "1h";r=990;t=3600` {
		t.Errorf("second: %v %s", v.Allow, rateLimit(v.Quota.Windows))
	}
	v := ask()
	if v.Reason != policy.RateLimited || v.retryAfter(v.Denial()) != 1 || v.values(v.Denial()).Limit != "10" {
		t.Errorf("third: %s %+v", v.Reason, v.values(v.Denial()))
	}
	clock = clock.Add(time.Second)
	if v := ask(); !v.Allow {
		t.Error("waiting for Retry-After was not long enough")
	}
}
