package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// replicas of extauthz that share a Redis.
const replicas = 3

// slowest is the longest that any request may take, whatever Redis does: TestRedis's
// Envoy gives up on extauthz after a second.
const slowest = 2 * time.Second

// hourlyPolicy allows 100 requests an hour.
func hourlyPolicy(host, more string) string {
	return `
hosts: [` + host + `]
environments: [{name: live, prefix: pk_}]
defaultPlan: hourly
plans: [{name: hourly, limits: [{requests: 100, per: 1h}]}]
rules: [{paths: ["/any"], anyKey: true}, {paths: ["/free"], anyKey: true, cost: 0}, {paths: ["/x.Y/{method}"], anyKey: true}]
` + more
}

// TestRedis: replicas count together, exactly; what becomes of requests while Redis
// is away is the policy's to say, and takes a bounded time.
func TestRedis(t *testing.T) {
	s := start(t, "REDIS=1", "CHECK_TIMEOUT=1s", fmt.Sprintf("EXTAUTHZ_REPLICAS=%d", replicas), "EXTAUTHZ_FLAGS=--trust-forwarded-proto --rate-limit-timeout=400ms")
	closed, open := newHost(), newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "closed", hourlyPolicy(closed, "requireTLS: true"))
	s.policy(t, ns, "open", hourlyPolicy(open, "limitFailure: FailOpen"))
	at := func(host, name string) call {
		policy := map[string]string{closed: "closed", open: "open"}[host]
		return call{host: host, path: "/any", token: s.key(t, ns, name, "policyRef: {name: "+policy+"}"),
			header: map[string][]string{"X-Forwarded-Proto": {"https"}}}
	}
	used, other, free := at(closed, "used"), at(closed, "other"), at(open, "free")

	t.Run("a balancer's word for TLS is taken when told to", func(t *testing.T) {
		plain := used
		plain.path, plain.header = "/free", nil
		if a := s.do(t, plain); a.status != http.StatusForbidden || a.reason(t) != "tls_required" {
			t.Errorf("got %s", a)
		}
		plain.header = used.header
		s.do(t, plain).echo(t)
	})
	t.Run("100 of 400, many at once", func(t *testing.T) {
		s.exhaust(t, used)
		for i := range replicas {
			if got := s.metricOf(t, i, `keygate_decisions_total{detail="",policy="`+ns+`/closed",reason="allowed"}`); got == 0 {
				t.Errorf("replica %d allowed none", i+1)
			}
		}
		s.exhaust(t, other) // a key of its own
	})
	t.Run("Redis hangs, comes back, is killed and restarted under load", func(t *testing.T) {
		s.endureRedis(t, at(closed, "loaded"), free, ns)
	})
	t.Run("Envoy's own errors have the request id", func(t *testing.T) { s.gatewayErrors(t, free) })
}

// askers are how many requests are on their way at once: so few that each finds a
// connection to Redis free, of which a replica has 32. One that waits for a connection
// may wait for too long, and too many of those are an outage.
const askers = 20 * replicas

// exhaust makes 400 requests and wants 100 allowed and the others limited.
func (s *stack) exhaust(t *testing.T, c call) {
	t.Helper()
	var mu sync.Mutex
	count := map[int]int{}
	var wg sync.WaitGroup
	var asked atomic.Int64
	for range askers {
		wg.Go(func() {
			for asked.Add(1) <= 400 {
				a, err := s.try(c)
				mu.Lock()
				if count[a.status]++; err != nil {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if count[http.StatusOK] != 100 || count[http.StatusTooManyRequests] != 300 {
		t.Errorf("statuses and how often: %v, want 100 allowed and 300 limited", count)
	}
}

// metricOf is a metric of one replica of extauthz.
func (s *stack) metricOf(t *testing.T, replica int, series string) float64 {
	t.Helper()
	name := "METRICS"
	if replica > 0 {
		name += "_" + strconv.Itoa(replica+1)
	}
	return (&stack{vars: map[string]string{"METRICS": s.vars[name]}}).metric(t, series)
}

// load calls until ctx ends and returns how often which status came, and the times.
func (s *stack) load(ctx context.Context, t *testing.T, c call) (count map[int]int, took []time.Duration) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	count = map[int]int{}
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				a, err := s.try(c)
				mu.Lock()
				if err != nil {
					t.Error(err)
				}
				count[a.status]++
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return count, took
}

// endureRedis takes Redis away under load, in two ways, and gives it back.
func (s *stack) endureRedis(t *testing.T, closed, open call, ns string) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer func() { stop(); wg.Wait() }()
	for c, fine := range map[*call][]int{&closed: {200, 429, 503}, &open: {200, 429}} {
		wg.Go(func() {
			count, took := s.load(ctx, t, *c)
			for status := range count {
				if !slices.Contains(fine, status) {
					t.Errorf("%s: statuses and how often: %v", c.host, count)
				}
			}
			if len(took) == 0 {
				t.Errorf("%s: no load", c.host)
			} else if p99 := took[len(took)*99/100]; p99 > slowest {
				t.Errorf("%s: 99 of 100 requests took up to %v", c.host, p99)
			}
		})
	}
	fails := func(what string) {
		a := s.becomes(t, closed, http.StatusServiceUnavailable)
		if a.reason(t) != "unavailable" || a.header.Get("Retry-After") != "5" || a.header.Get("RateLimit") != "" {
			t.Errorf("Redis %s: %s", what, a)
		}
		if a := s.becomes(t, open, http.StatusOK); a.header.Get("RateLimit") != "" {
			t.Errorf("Redis %s, open: %s", what, a)
		}
	}
	counts := func() {
		s.becomes(t, closed, http.StatusTooManyRequests)
		s.becomes(t, open, http.StatusTooManyRequests)
	}
	pid := s.pid(t, "REDIS")
	counts()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	fails("hangs")
	s.unavailableToGRPC(t, closed)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	counts()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	fails("is dead")
	s.restart(t, "redis")
	counts()
	stop()
	wg.Wait()
	var limit, unknown float64
	for i := range replicas {
		limit += s.metricOf(t, i, `keygate_decisions_total{detail="limit",policy="`+ns+`/closed",reason="unavailable"}`)
		unknown += s.metricOf(t, i, `keygate_decisions_total{detail="limit_unknown",policy="`+ns+`/open",reason="allowed"}`)
		if got := s.metricOf(t, i, "keygate_panics_total"); got != 0 {
			t.Errorf("replica %d panicked %v times", i+1, got)
		}
	}
	if limit == 0 || unknown == 0 {
		t.Errorf("%v decisions failed closed and %v open, want some of each", limit, unknown)
	}
}

// unavailableToGRPC wants a gRPC client to be told to try again.
func (s *stack) unavailableToGRPC(t *testing.T, c call) {
	_, err := invoke(withHeader(t.Context(), "x-forwarded-proto", "https"), s.dial(t, "GATEWAY", c.host), "/x.Y/Z", c.token)
	answer, _ := status.FromError(err)
	var retry *errdetails.RetryInfo
	for _, detail := range answer.Details() {
		if d, ok := detail.(*errdetails.RetryInfo); ok {
			retry = d
		}
	}
	if answer.Code() != codes.Unavailable || retry.GetRetryDelay().AsDuration() != 5*time.Second {
		t.Errorf("got %v with %v", err, retry)
	}
}

// gatewayErrors makes Envoy answer for itself: it finds no route, and no upstream.
func (s *stack) gatewayErrors(t *testing.T, c call) {
	const id = "gateway-error-1"
	tunnel := func(host string) answer {
		return s.raw(t, "CONNECT "+host+" HTTP/1.1\r\nHost: "+host+"\r\nX-Request-Id: "+id+"\r\nConnection: close\r\n\r\n")
	}
	connect := tunnel("x.e2e.test:443")
	own, _ := tunnel("api.stairoids.com:443").jsonBody(t).(map[string]any)
	if own["request_id"] != "req_"+id || own["error"] != "gateway_error" {
		t.Errorf("an API with a form of its own: %v", own)
	}
	if err := syscall.Kill(s.pid(t, "UPSTREAM"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.path, c.header = "/free", map[string][]string{"X-Request-Id": {id}}
	gone := s.becomes(t, c, http.StatusServiceUnavailable)
	for name, a := range map[string]answer{"no route": connect, "no upstream": gone} {
		body, _ := a.jsonBody(t).(map[string]any)
		if body["requestId"] != id || body["status"] != float64(a.status) || a.header.Get("X-Request-Id") != id ||
			a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s", name, a)
		}
	}
	if line := s.logged(t, id); line["request_id"] != id {
		t.Errorf("the access log has %v", line)
	}
	_, err := invoke(t.Context(), s.dial(t, "GATEWAY", c.host), "/x.Y/Z", c.token)
	answer, _ := status.FromError(err)
	if answer.Code() != codes.ResourceExhausted && (answer.Code() != codes.Unavailable || json.Valid([]byte(answer.Message()))) {
		t.Errorf("gRPC: %v", err)
	}
	denied := s.do(t, call{host: c.host, path: "/none", header: c.header})
	if denied.reason(t) != "no_rule" {
		t.Errorf("a denial is not left alone: %s", denied)
	}
}
