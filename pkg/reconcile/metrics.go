package reconcile

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
)

// metrics of one controller.
type metrics struct {
	minted, restored prometheus.Counter
	keys             *prometheus.GaugeVec
	expiringSoon     prometheus.Gauge

	mu sync.Mutex
	// reasons of the Ready condition, by APIKey.
	reasons map[client.ObjectKey]string
	// expiring are the APIKeys that expire soon.
	expiring map[client.ObjectKey]bool
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		minted:       prometheus.NewCounter(prometheus.CounterOpts{Name: "keygate_mints_total", Help: "Tokens that were issued and delivered."}),
		restored:     prometheus.NewCounter(prometheus.CounterOpts{Name: "keygate_drift_restored_total", Help: "Secrets of the keys namespace that were put back after somebody else changed or deleted them."}),
		keys:         prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "keygate_apikeys", Help: "APIKeys by the reason of their Ready condition."}, []string{"reason"}),
		expiringSoon: prometheus.NewGauge(prometheus.GaugeOpts{Name: "keygate_keys_expiring_soon", Help: "APIKeys whose ExpiringSoon condition is True."}),
		reasons:      map[client.ObjectKey]string{},
		expiring:     map[client.ObjectKey]bool{},
	}
	m.reset()
	for _, collector := range []prometheus.Collector{m.minted, m.restored, m.keys, m.expiringSoon} {
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

// keyExpires counts an APIKey as one that expires soon, or as none.
func (m *metrics) keyExpires(name client.ObjectKey, soon bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if soon {
		m.expiring[name] = true
	} else {
		delete(m.expiring, name)
	}
	m.expiringSoon.Set(float64(len(m.expiring)))
}

// reset forgets the APIKeys that were counted.
func (m *metrics) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys.Reset()
	m.keys.WithLabelValues(v1alpha1.ReasonRecordInvalid) // 0: its alert has something to look at
	clear(m.reasons)
	clear(m.expiring)
	m.expiringSoon.Set(0)
}

// forget stops counting an APIKey.
func (m *metrics) forget(name client.ObjectKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, counted := m.reasons[name]; counted {
		m.keys.WithLabelValues(old).Dec()
		delete(m.reasons, name)
	}
	delete(m.expiring, name)
	m.expiringSoon.Set(float64(len(m.expiring)))
}
