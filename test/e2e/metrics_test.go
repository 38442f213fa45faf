package e2e

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// metric reads a sample of extauthz; one that is not there is 0.
func (s *stack) metric(tb testing.TB, series string) float64 {
	tb.Helper()
	resp, err := http.Get(s.vars["METRICS"] + "/metrics")
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), series+" "); found {
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				tb.Fatal(err)
			}
			return f
		}
	}
	return 0
}

// get reads a URL of an admin listener.
func get(tb testing.TB, url string) string {
	tb.Helper()
	resp, err := http.Get(url)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return string(body)
}

// TestDecisionMetrics: operators see policy, reason and detail, and how fresh the
// store is.
func TestDecisionMetrics(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "metered", plainPolicy(host))
	token := s.key(t, ns, "caller", "policyRef: {name: metered}")
	s.do(t, call{host: host, path: "/any", token: token}).echo(t)
	s.do(t, call{host: host, path: "/any"})
	s.do(t, call{host: host, path: "/any", token: "pk_" + strings.Repeat("u", 40)})
	metrics := get(t, s.vars["METRICS"]+"/metrics")
	for _, want := range []string{
		`keygate_decisions_total{detail="",policy="` + ns + `/metered",reason="allowed"} 1`,
		`keygate_decisions_total{detail="",policy="` + ns + `/metered",reason="missing_key"} 1`,
		`keygate_decisions_total{detail="unknown",policy="` + ns + `/metered",reason="invalid_key"} 1`,
		"keygate_decision_duration_seconds_bucket", "keygate_store_keys ", "keygate_store_lookups_total",
		"keygate_store_last_event",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if ready := get(t, s.vars["METRICS"]+"/readyz"); !strings.Contains(ready, "ok") {
		t.Errorf("/readyz: %s", ready)
	}
}
