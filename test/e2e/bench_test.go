package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// samples are durations of one thing, done many times.
type samples []time.Duration

// report tells median and worst, in milliseconds.
func (s samples) report(b *testing.B) {
	slices.Sort(s)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(s[len(s)/2]), "median-ms")
	b.ReportMetric(ms(s[len(s)-1]), "worst-ms")
	b.ReportMetric(0, "ns/op") // the loop also prepares: its own time says nothing
}

// BenchmarkAppliedToUsable is the time from the API server's answer to an APIKey
// until a request with its token is allowed through Envoy; the token is read from
// the delivery Secret as soon as that is there.
func BenchmarkAppliedToUsable(b *testing.B) {
	s, host := shared, newHost()
	ns := s.namespace(b, nil)
	s.policy(b, ns, "plain", plainPolicy(host))
	var took samples
	for b.Loop() {
		name := fmt.Sprintf("key-%d", len(took))
		s.apply(b, ns, name, "policyRef: {name: plain}")
		began := time.Now()
		s.wait(b, s.keys(ns), name, "Delivered", "True", "")
		s.becomes(b, call{host: host, path: "/any", token: s.token(b, ns, name)}, http.StatusOK)
		took = append(took, time.Since(began))
	}
	took.report(b)
}

// BenchmarkRevokedToDenied is the time from the API server's answer to a
// revocation until Envoy denies the key.
func BenchmarkRevokedToDenied(b *testing.B) {
	s, host := shared, newHost()
	ns := s.namespace(b, nil)
	s.policy(b, ns, "plain", plainPolicy(host))
	var took samples
	for b.Loop() {
		name := fmt.Sprintf("key-%d", len(took))
		c := call{host: host, path: "/any", token: s.key(b, ns, name, "policyRef: {name: plain}")}
		s.becomes(b, c, http.StatusOK)
		s.patch(b, ns, name, `{"spec":{"state":"Revoked"}}`)
		began := time.Now()
		s.becomes(b, c, http.StatusUnauthorized)
		took = append(took, time.Since(began))
	}
	took.report(b)
}
