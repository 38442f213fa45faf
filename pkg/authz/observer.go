package authz

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// DecisionLog says which decisions get a log line.
type DecisionLog string

// Which decisions get a log line.
const (
	// LogNone: none. The zero value means the same.
	LogNone DecisionLog = "none"
	// LogDenied: denials and failures.
	LogDenied DecisionLog = "denied"
	// LogAll: all.
	LogAll DecisionLog = "all"
)

// ParseDecisionLog reads one of none, denied and all.
func ParseDecisionLog(s string) (DecisionLog, error) {
	switch l := DecisionLog(s); l {
	case LogNone, LogDenied, LogAll:
		return l, nil
	}
	return "", fmt.Errorf("%q is not one of none, denied, all", s)
}

// covers reports whether a verdict gets a line.
func (l DecisionLog) covers(v *Verdict) bool {
	return l == LogAll || l == LogDenied && !v.Allow
}

// observer tells operators what was decided: metrics always, a log line where
// asked.
type observer struct {
	log       *slog.Logger
	lines     DecisionLog
	decisions *prometheus.CounterVec
	duration  prometheus.Histogram
	inFlight  prometheus.Gauge
	panics    prometheus.Counter
}

// newObserver registers the metrics. The labels are bounded: policies by their
// number, reasons and details by the constants of this program.
func newObserver(log *slog.Logger, lines DecisionLog, registerer prometheus.Registerer) (*observer, error) {
	o := &observer{
		log:   log,
		lines: lines,
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keygate_decisions_total",
			Help: "Requests decided, by policy, reason (allowed and anonymous let through) and detail.",
		}, []string{"policy", "reason", "detail"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "keygate_decision_duration_seconds",
			Help:    "Time from a received request to its answer, without gRPC's own.",
			Buckets: prometheus.ExponentialBuckets(2e-6, 4, 11),
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "keygate_decisions_in_flight",
			Help: "Requests that are being decided.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keygate_panics_total",
			Help: "Decisions that failed in a panic and were answered as unavailable.",
		}),
	}
	for _, c := range []prometheus.Collector{o.decisions, o.duration, o.inFlight, o.panics} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return o, nil
}

// decided counts a verdict and writes its line.
func (o *observer) decided(ctx context.Context, v *Verdict, r *Request, start time.Time) {
	name := ""
	if v.Policy != nil {
		name = v.Policy.String()
	}
	o.decisions.WithLabelValues(name, string(v.Reason), string(v.Detail)).Inc()
	o.duration.Observe(time.Since(start).Seconds())
	if !o.lines.covers(v) {
		return
	}
	o.log.LogAttrs(ctx, slog.LevelInfo, "request decided",
		slog.String("policy", name),
		slog.String("reason", string(v.Reason)),
		slog.String("detail", string(v.Detail)),
		slog.String("keyId", v.KeyID),
		slog.String("requestId", v.RequestID),
		slog.String("method", loggedMethod(r.Method)),
	)
}

// loggedMethod is a copy of a method if a policy could name it, "" otherwise: what
// a caller made up is not logged.
func loggedMethod(method string) string {
	const longest = 32
	if len(method) > longest {
		return ""
	}
	for i := range len(method) {
		if c := method[i]; (c < 'A' || c > 'Z') && c != '-' {
			return ""
		}
	}
	return strings.Clone(method)
}

// panicked counts a panic and logs where it was. Of its cause only the type is
// told, because its text may hold what the caller sent; runtime errors hold
// indexes and types only.
func (o *observer) panicked(ctx context.Context, cause any) {
	o.panics.Inc()
	text := fmt.Sprintf("%T", cause)
	if err, ok := cause.(runtime.Error); ok {
		text = err.Error()
	}
	o.log.LogAttrs(ctx, slog.LevelError, "decision panicked",
		slog.String("cause", text), slog.String("stack", string(debug.Stack())))
}
