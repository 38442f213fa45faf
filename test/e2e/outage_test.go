package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// TestOutage stops the API server: decisions go on as before for what is known,
// and nothing that is unknown is allowed. extauthz holds fewer records than there
// are keys, so that some are evicted.
func TestOutage(t *testing.T) {
	const cached, total = 100, 300
	s := start(t, fmt.Sprintf("EXTAUTHZ_FLAGS=--cache-size=%d", cached))
	host := newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	at := func(token string) call { return call{host: host, path: "/any", token: token} }

	tokens := make([]string, total)
	for i := range tokens {
		s.apply(t, ns, fmt.Sprintf("key-%d", i), "policyRef: {name: plain}")
	}
	for i := range tokens {
		name := fmt.Sprintf("key-%d", i)
		s.wait(t, s.keys(ns), name, "Ready", "True", "Active")
		tokens[i] = s.token(t, ns, name)
	}
	revoked := s.key(t, ns, "revoked", "policyRef: {name: plain}")
	s.patch(t, ns, "revoked", `{"spec":{"state":"Revoked"}}`)
	s.becomes(t, at(revoked), http.StatusUnauthorized)

	t.Run("a store smaller than the number of keys", func(t *testing.T) {
		for i, token := range tokens {
			if a := s.do(t, at(token)); a.status != http.StatusOK {
				t.Fatalf("key %d: %s", i, a)
			}
		}
		fetched := s.metric(t, `keygate_store_lookups_total{result="fetched"}`)
		if fetched < total-cached {
			t.Errorf("%v look-ups of an evicted record, want at least %d", fetched, total-cached)
		}
		// The records used last are kept, whatever unknown tokens come.
		for i := range 500 {
			if a := s.do(t, at(fmt.Sprintf("pk_%040d", i))); a.status != http.StatusUnauthorized {
				t.Fatalf("unknown token: %s", a)
			}
		}
		for _, token := range tokens[total-20:] {
			s.do(t, at(token)).echo(t)
		}
		if got := s.metric(t, `keygate_store_lookups_total{result="fetched"}`); got != fetched {
			t.Errorf("unknown tokens evicted valid ones, or cost API calls: %v fetched, was %v", got, fetched)
		}
	})

	expires := time.Now().Add(25 * time.Second).UTC().Truncate(time.Second)
	expiring := s.key(t, ns, "expiring", "policyRef: {name: plain}\nexpiresAt: "+expires.Format(`"2006-01-02T15:04:05Z"`))
	s.do(t, at(expiring)).echo(t)
	s.do(t, at(revoked)) // its record is held again, as that of a key that somebody still uses
	kill(t, s, "APISERVER")

	for _, token := range tokens[total-20:] {
		s.do(t, at(token)).echo(t)
	}
	if a := s.do(t, at(revoked)); a.status != http.StatusUnauthorized {
		t.Errorf("revoked, in the outage: %s", a)
	}
	if a := s.do(t, at("pk_"+strings.Repeat("u", 40))); a.status != http.StatusUnauthorized {
		t.Errorf("unknown, in the outage: %s", a)
	}
	for _, token := range tokens[:5] {
		a := s.do(t, at(token))
		if a.status != http.StatusServiceUnavailable || a.reason(t) != "unavailable" || a.header.Get("Retry-After") == "" {
			t.Errorf("evicted, in the outage: %s; want 503 unavailable with Retry-After", a)
		}
	}
	if a := s.becomes(t, at(expiring), http.StatusUnauthorized); time.Now().Before(expires) {
		t.Errorf("denied too early: %s", a)
	}

	// A restart in the outage: not ready, and errors, never an allow.
	kill(t, s, "EXTAUTHZ")
	if err := stackCommand(t.Context(), s.dir, nil, "restart", "extauthz").Run(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if a := s.do(t, at(tokens[total-1])); a.status < 500 {
			t.Fatalf("extauthz knows nothing yet, and Envoy answers %s", a)
		}
	}
	s.restart(t, "apiserver")
	s.becomes(t, at(tokens[0]), http.StatusOK)
	for i, token := range tokens {
		if a := s.answers(t, at(token)); a.status != http.StatusOK {
			t.Fatalf("key %d after the outage: %s", i, a)
		}
	}
	if a := s.answers(t, at(revoked)); a.status != http.StatusUnauthorized {
		t.Errorf("revoked, after the outage: %s", a)
	}
}

// answers is the first decision on a call: an API server that was just started may not
// answer yet when extauthz asks it for an evicted record.
func (s *stack) answers(t *testing.T, c call) (a answer) {
	t.Helper()
	eventually(t, func() string {
		if a = s.do(t, c); a.status == http.StatusServiceUnavailable {
			return fmt.Sprintf("undecided: %s", a)
		}
		return ""
	})
	return a
}

// kill ends a component as a crash does, and waits until it is gone.
func kill(t *testing.T, s *stack, component string) {
	t.Helper()
	pid := s.pid(t, component)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if component == "APISERVER" {
		client, err := kubernetes.NewForConfig(s.config)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, func() string {
			if _, err := client.CoreV1().Namespaces().List(context.Background(), metav1.ListOptions{Limit: 1}); err == nil {
				return "the API server still answers"
			}
			return ""
		})
	}
}
