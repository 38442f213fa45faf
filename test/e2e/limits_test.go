package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// limitedPolicy has plans with limits. Test keys are all on the plan free.
func limitedPolicy(host string) string {
	return `
hosts: [` + host + `]
environments: [{name: live, prefix: pk_}, {name: test, prefix: tk_, plan: free}]
defaultPlan: free
plans:
- {name: free, limits: [{requests: 3, per: 1h}]}
- {name: pro, includes: [free], limits: [{requests: 1000, per: 1h}]}
- {name: business, includes: [pro]}
rules:
- {paths: ["/any"], anyKey: true}
- {paths: ["/costly"], anyKey: true, cost: 2}
- {paths: ["/free"], anyKey: true, cost: 0}
- {paths: ["/pro"], anyKey: true, plan: pro, message: "Media verification needs a better plan."}
- {paths: ["/open"], anonymous: true}`
}

// TestRateLimit: who has used up a window is told when the next one opens, by status,
// header fields and body; others are not touched.
func TestRateLimit(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "limited", limitedPolicy(host))
	token := s.key(t, ns, "caller", "policyRef: {name: limited}")
	other := s.key(t, ns, "other", "policyRef: {name: limited}")
	sandbox := s.key(t, ns, "sandbox", "policyRef: {name: limited}\nenvironment: test")
	at := func(path, token string) call { return call{host: host, path: path, token: token} }
	for left := 2; left >= 0; left-- {
		a := s.do(t, at("/any", token))
		if e := a.echo(t); e.first("ratelimit") != "" {
			t.Errorf("the upstream got %v", e.Headers)
		}
		wantHeader(t, a, "RateLimit-Policy", `"1h";q=3;w=3600`)
		wantHeader(t, a, "RateLimit", fmt.Sprintf(`"1h";r=%d;t=3600`, left), fmt.Sprintf(`"1h";r=%d;t=35`, left))
	}
	a := s.do(t, at("/any", token))
	if a.status != http.StatusTooManyRequests || a.reason(t) != "rate_limited" {
		t.Fatalf("got %s", a)
	}
	wantHeader(t, a, "RateLimit-Policy", `"1h";q=3;w=3600`)
	wantHeader(t, a, "RateLimit", `"1h";r=0;t=`)
	if after := retryAfter(t, a); after < 3500 || after > 3600 {
		t.Errorf("Retry-After: %d", after)
	}
	for name, c := range map[string]call{
		"a rule of no cost": at("/free", token), "an anonymous one": at("/open", token), "another key": at("/any", other), "another of the environment": at("/any", sandbox),
	} {
		if a := s.do(t, c); a.status != http.StatusOK {
			t.Errorf("%s: %s", name, a)
		}
	}
	if a := s.do(t, at("/free", token)); a.header.Get("RateLimit") != "" {
		t.Errorf("what is not counted has %v", a.header)
	}
	// Denials use nothing up: two are left, and one that costs two fits.
	for range 5 {
		if a := s.do(t, at("/pro", other)); a.reason(t) != "plan_required" {
			t.Errorf("got %s", a)
		}
	}
	s.do(t, at("/costly", other)).echo(t)
	if a := s.do(t, at("/any", other)); a.status != http.StatusTooManyRequests {
		t.Errorf("got %s", a)
	}
	if got := s.metric(t, `keygate_decisions_total{detail="",policy="`+ns+`/limited",reason="rate_limited"}`); got != 2 {
		t.Errorf("%v are counted as rate_limited, want 2", got)
	}
}

// TestPlans: a rule's plan, one that includes it, and the environment's own; a plan
// that changes counts at once.
func TestPlans(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "planned", limitedPolicy(host))
	for name, status := range map[string]int{"pro": 200, "business": 200, "free": 403, "": 403} {
		spec := "policyRef: {name: planned}"
		if name != "" {
			spec += "\nplan: " + name
		}
		token := s.key(t, ns, "caller-"+name+"x", spec)
		a := s.do(t, call{host: host, path: "/pro", token: token})
		if a.status != status {
			t.Errorf("plan %q: %s", name, a)
		}
		if status == 200 {
			continue
		}
		body, _ := a.jsonBody(t).(map[string]any)
		if body["reason"] != "plan_required" || body["detail"] != "Media verification needs a better plan." || body["requiredPlan"] != "pro" {
			t.Errorf("got %s", a)
		}
	}
	s.patch(t, ns, "caller-freex", `{"spec":{"plan":"business"}}`)
	s.becomes(t, call{host: host, path: "/pro", token: s.token(t, ns, "caller-freex")}, http.StatusOK)
}

// TestRetryAfterIsTrue: who waits for as long is let in, who waits a second less is
// not; with one window and with two.
func TestRetryAfterIsTrue(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "limited", `
hosts: [`+host+`]
environments: [{name: live, prefix: pk_}]
plans:
- {name: second, limits: [{requests: 1, per: 1s}]}
- {name: pair, limits: [{requests: 100, per: 1h}, {requests: 2, per: 3s}]}
rules: [{paths: ["/any"], anyKey: true}]`)
	for plan, window := range map[string]window{"second": {1, time.Second}, "pair": {2, 3 * time.Second}} {
		t.Run(plan, func(t *testing.T) {
			c := call{host: host, path: "/any", token: s.key(t, ns, plan, "policyRef: {name: limited}\nplan: "+plan)}
			denied, after := s.exhausts(t, c, window)
			if policy := denied.header.Get("RateLimit-Policy"); strings.Contains(policy, ", ") != (plan == "pair") {
				t.Errorf("RateLimit-Policy %s", policy)
			}
			s.waits(t, c, denied, after)
		})
	}
}

// window lets so many requests in per time.
type window struct {
	requests int
	per      time.Duration
}

// timed is an answer to a call that was judged at some moment between two: when
// exactly only extauthz knows.
type timed struct {
	answer
	sent, received time.Time
}

func (s *stack) timed(t *testing.T, c call) timed {
	t.Helper()
	sent := time.Now()
	a := s.do(t, c)
	return timed{a, sent, time.Now()}
}

// exhausts calls until a window is used up, and wants the denial to say when the window
// that its requests opened ends, rounded up to a second.
func (s *stack) exhausts(t *testing.T, c call, w window) (denied timed, after time.Duration) {
	t.Helper()
	var allowed []timed
	eventually(t, func() string {
		if denied = s.timed(t, c); denied.status == http.StatusOK {
			allowed = append(allowed, denied)
			return "still let in"
		}
		return ""
	})
	if denied.status != http.StatusTooManyRequests || len(allowed) < w.requests {
		t.Fatalf("after %d requests: %s", len(allowed), denied)
	}
	opened := allowed[len(allowed)-w.requests]
	longest, shortest := w.per-denied.sent.Sub(opened.received), w.per-denied.received.Sub(opened.sent)
	after = time.Duration(retryAfter(t, denied.answer)) * time.Second
	if after < time.Second || after > w.per || after < shortest || after >= longest+time.Second {
		t.Errorf("Retry-After is %v; from %v to %v were left", after, shortest, longest)
	}
	return denied, after
}

// waits calls until it is let in, and wants that to be when a denial said.
func (s *stack) waits(t *testing.T, c call, denied timed, after time.Duration) {
	t.Helper()
	eventually(t, func() string {
		a := s.timed(t, c)
		if a.status != http.StatusOK {
			if a.sent.After(denied.received.Add(after)) {
				t.Fatalf("denied after %v, Retry-After was %v: %s", a.sent.Sub(denied.received), after, a)
			}
			return fmt.Sprintf("got %s", a)
		}
		if waited := a.received.Sub(denied.sent); waited <= after-time.Second {
			t.Errorf("let in after %v, Retry-After was %v", waited, after)
		}
		return ""
	})
}

// retryAfter reads Retry-After in seconds.
func retryAfter(t *testing.T, a answer) int {
	t.Helper()
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil {
		t.Fatalf("Retry-After: %v: %s", err, a)
	}
	return seconds
}

// wantHeader wants a header field that is there once and begins with one of some
// texts.
func wantHeader(t *testing.T, a answer, name string, begins ...string) {
	t.Helper()
	values := a.header.Values(name)
	for _, text := range begins {
		if len(values) == 1 && strings.HasPrefix(values[0], text) {
			return
		}
	}
	t.Errorf("%s: %q, want %q", name, values, begins)
}
