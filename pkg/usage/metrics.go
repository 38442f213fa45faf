package usage

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What became of a write: metric labels.
const (
	resultWritten = "written"
	// resultOlder: another replica has written a later use.
	resultOlder = "older"
	// resultGone: there is no such APIKey any more.
	resultGone = "gone"
	// resultRefused: the API server does not take it.
	resultRefused = "refused"
	// resultFailed: the API server could not be reached, or could not write.
	resultFailed = "failed"
)

// newMetrics registers the metrics of a collector, and returns the count of writes.
func newMetrics(c *Collector, registerer prometheus.Registerer) (*prometheus.CounterVec, error) {
	writes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keygate_usage_writes_total",
		Help: "Writes of when an APIKey was last used, by result (written, older, gone, refused, failed).",
	}, []string{"result"})
	for _, result := range []string{resultWritten, resultOlder, resultGone, resultRefused, resultFailed} {
		writes.WithLabelValues(result)
	}
	for _, metric := range []prometheus.Collector{
		writes,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "keygate_usage_pending",
			Help: "APIKeys whose last use is not written yet.",
		}, func() float64 { return float64(c.pending.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "keygate_usage_lag_seconds",
			Help: "For how long the next APIKey to be written has waited.",
		}, func() float64 { return c.queue.lag(time.Now()).Seconds() }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "keygate_usage_dropped_total",
			Help: "Uses of keys that were not noted, because too many APIKeys were pending.",
		}, func() float64 { return float64(c.dropped.Load()) }),
	} {
		if err := registerer.Register(metric); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return writes, nil
}
