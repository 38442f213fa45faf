package reconcile

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// metrics of one controller.
type metrics struct {
	minted, restored prometheus.Counter
	keys             *prometheus.GaugeVec

	mu sync.Mutex
	// reasons of the Ready condition, by APIKey.
	reasons map[client.ObjectKey]string
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		minted:   prometheus.NewCounter(prometheus.CounterOpts{Name: "keygate_mints_total", Help: "Tokens that were issued and delivered."}),
		restored: prometheus.NewCounter(prometheus.CounterOpts{Name: "keygate_drift_restored_total", Help: "Secrets of the keys namespace that were put back after somebody else changed or deleted them."}),
		keys:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "keygate_apikeys", Help: "APIKeys by the reason of their Ready condition."}, []string{"reason"}),
		reasons:  map[client.ObjectKey]string{},
	}
	for _, collector := range []prometheus.Collector{m.minted, m.restored, m.keys} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// keyIs counts an APIKey under the reason of its Ready condition.
func (m *metrics) keyIs(name client.ObjectKey, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, counted := m.reasons[name]; counted {
		m.keys.WithLabelValues(old).Dec()
	}
	m.reasons[name] = reason
	m.keys.WithLabelValues(reason).Inc()
}

// reset forgets the APIKeys that were counted.
func (m *metrics) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys.Reset()
	clear(m.reasons)
}

// forget stops counting an APIKey.
func (m *metrics) forget(name client.ObjectKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, counted := m.reasons[name]; counted {
		m.keys.WithLabelValues(old).Dec()
		delete(m.reasons, name)
	}
}
