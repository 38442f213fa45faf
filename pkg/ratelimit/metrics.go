package ratelimit

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics of a limiter. All names begin with keygate_ratelimit_, and all have the
// label backend.
type metrics struct {
	factory promauto.Factory
	backend prometheus.Labels

	allowed, limited, failed prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, backend string) *metrics {
	m := &metrics{factory: promauto.With(registerer), backend: prometheus.Labels{"backend": backend}}
	requests := m.factory.NewCounterVec(prometheus.CounterOpts(m.opts("requests_total",
		"Requests counted against limits: allowed, limited, error (nobody can tell).")), []string{"result"})
	m.allowed = requests.WithLabelValues("allowed")
	m.limited = requests.WithLabelValues("limited")
	m.failed = requests.WithLabelValues("error")
	return m
}

func (m *metrics) opts(name, help string) prometheus.Opts {
	return prometheus.Opts{Namespace: "keygate", Subsystem: "ratelimit", Name: name, Help: help, ConstLabels: m.backend}
}

// observeMemory exports the number of keys and returns the counter of evictions.
// Decisions in memory are not timed: that would cost as much as they do.
func (m *metrics) observeMemory(keys func() float64) (evictions prometheus.Counter) {
	m.factory.NewGaugeFunc(prometheus.GaugeOpts(m.opts("keys", "Keys whose windows are remembered.")), keys)
	return m.factory.NewCounter(prometheus.CounterOpts(m.opts("evictions_total",
		"Keys forgotten before their windows ended, because there were too many: each may get up to twice its limit.")))
}

// observeRedis returns the histogram of durations.
func (m *metrics) observeRedis() prometheus.Histogram {
	opts := m.opts("duration_seconds", "Time to count a request, failures and waiting for a connection included.")
	return m.factory.NewHistogram(prometheus.HistogramOpts{
		Namespace: opts.Namespace, Subsystem: opts.Subsystem, Name: opts.Name, Help: opts.Help, ConstLabels: opts.ConstLabels,
		Buckets: prometheus.ExponentialBuckets(float64(100*time.Microsecond)/float64(time.Second), 2, 11),
	})
}

// decided counts a request that was counted.
func (m *metrics) decided(allowed bool) {
	if allowed {
		m.allowed.Inc()
	} else {
		m.limited.Inc()
	}
}
