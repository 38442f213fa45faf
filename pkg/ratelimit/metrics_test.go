package ratelimit

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// values are the metrics of a registry, by name and labels: counts, gauges, and the
// counts of histograms.
func values(tb testing.TB, registry *prometheus.Registry) map[string]float64 {
	tb.Helper()
	families, err := registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			values[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return values
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := startRedis(t)
	for _, l := range []Limiter{
		newTestMemory(t, Options{MaxKeys: 1, Registerer: registry}),
		newTestRedis(t, RedisOptions{URL: s.url, Registerer: registry}),
	} {
		for range 5 {
			take(t, l, "a", hour(3), 1)
		}
		take(t, l, "b", hour(3), 1)
		if _, err := l.Take(t.Context(), "", hour(3), 1); err == nil {
			t.Error("an empty key was counted")
		}
	}
	equal(t, "metrics", map[string]float64{
		"keygate_ratelimit_requests_total memory allowed": 4,
		"keygate_ratelimit_requests_total memory limited": 2,
		"keygate_ratelimit_requests_total memory error":   1,
		"keygate_ratelimit_keys memory":                   1,
		"keygate_ratelimit_evictions_total memory":        1,
		"keygate_ratelimit_requests_total redis allowed":  4,
		"keygate_ratelimit_requests_total redis limited":  2,
		"keygate_ratelimit_requests_total redis error":    1,
		"keygate_ratelimit_duration_seconds redis":        7,
	}, values(t, registry))
}
