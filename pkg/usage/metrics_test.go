package usage

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// TestWriterMetrics: what operators see.
func TestWriterMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sink := NewCollector(3), newSink()
		registry := prometheus.NewPedanticRegistry()
		o := options(c, sink)
		o.Registerer = registry
		stop := run(t, o)
		sink.answer = func(change Change) error {
			return map[string]error{"key-00001": ErrGone, "key-00002": errors.New("refused")}[change.Owner.Name]
		}
		for i, key := range names(5) {
			c.Used(recordOf(key, uint64(i)), time.Now())
		}
		time.Sleep(900 * time.Millisecond)
		want := map[string]float64{"keygate_usage_pending": 3, "keygate_usage_dropped_total": 2, "keygate_usage_lag_seconds": 0.9}
		if diff := cmp.Diff(want, gather(t, registry)); diff != "" {
			t.Errorf("before the first write: %s", diff)
		}
		time.Sleep(time.Second)
		want = map[string]float64{
			"keygate_usage_pending": 1, "keygate_usage_dropped_total": 2,
			"keygate_usage_writes_total/written": 1, "keygate_usage_writes_total/gone": 1, "keygate_usage_writes_total/failed": 1,
		}
		if diff := cmp.Diff(want, gather(t, registry)); diff != "" {
			t.Errorf("after it: %s", diff)
		}
		stop()
		if _, err := NewWriter(o); err == nil {
			t.Error("the metrics were registered twice")
		}
	})
}

// gather is every metric that is not 0, by name and label.
func gather(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, family := range families {
		for _, m := range family.Metric {
			name := family.GetName()
			for _, label := range m.Label {
				name = fmt.Sprintf("%s/%s", name, label.GetValue())
			}
			if value := m.GetCounter().GetValue() + m.GetGauge().GetValue(); value != 0 {
				out[name] = value
			}
		}
	}
	return out
}
