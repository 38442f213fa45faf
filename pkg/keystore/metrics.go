package keystore

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Kinds of objects and feeds: metric labels.
const (
	kindRecord = "record"
	kindPolicy = "policy"
	kindRoot   = "root"
	kindOther  = "other"
	kindKeys   = "keys"
)

// Results of a check of the index against a list of names: metric labels.
const (
	relistOK     = "ok"
	relistFailed = "failed"
	relistFull   = "full" // too much differed: everything was listed anew
)

// rejectable maps each kind of object to the reasons for which one can be rejected.
var rejectable = map[string][]string{
	kindRecord: {rejectSeal, rejectSealVersion, rejectUnreadable, rejectName, rejectVersion},
	kindPolicy: {rejectSeal, rejectSealVersion, rejectUnreadable, rejectName, rejectVersion},
	kindOther:  {rejectName, rejectType, rejectVersion},
	kindRoot:   {rejectUnreadable, rejectMissing},
}

// metrics of a Store. All names begin with keygate_.
type metrics struct {
	factory promauto.Factory

	lookupHit, lookupAbsent, lookupFetched, lookupFailed prometheus.Counter

	rejections *prometheus.CounterVec // type, reason
	lists      *prometheus.CounterVec // feed
	watches    *prometheus.CounterVec // feed
	relists    *prometheus.CounterVec // result
	repairs    *prometheus.CounterVec // change
}

func newMetrics(registerer prometheus.Registerer) *metrics {
	m := &metrics{factory: promauto.With(registerer)}
	lookups := m.counter("lookups_total", "Look-ups of a digest: hit (in memory), absent (no such key), fetched (read from the API server), failed (nobody can tell).", "result")
	m.lookupHit = lookups.WithLabelValues("hit")
	m.lookupAbsent = lookups.WithLabelValues("absent")
	m.lookupFetched = lookups.WithLabelValues("fetched")
	m.lookupFailed = lookups.WithLabelValues("failed")
	m.rejections = m.counter("rejected_objects_total", "Times that an object was seen that can't be used; its last good state stays in force.", "type", "reason")
	m.lists = m.counter("list_failures_total", "Lists of the root Secret or the keys namespace that failed.", "feed")
	m.watches = m.counter("watch_failures_total", "Watches of the root Secret or the keys namespace that could not be started.", "feed")
	m.relists = m.counter("relists_total", "Checks of the index against a list of names: ok, failed, full (too much differed, everything was listed anew).", "result")
	m.repairs = m.counter("relist_repairs_total", "What such a check found before the watch told: added, updated or removed objects.", "change")
	// An increase is seen only of what was there before, and the first one matters.
	for kind, reasons := range rejectable {
		for _, reason := range reasons {
			m.rejections.WithLabelValues(kind, reason)
		}
	}
	for _, result := range []string{relistOK, relistFailed, relistFull} {
		m.relists.WithLabelValues(result)
	}
	for _, change := range []string{repairAdded, repairUpdated, repairRemoved} {
		m.repairs.WithLabelValues(change)
	}
	return m
}

func (m *metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	return m.factory.NewCounterVec(prometheus.CounterOpts{Namespace: "keygate", Subsystem: "store", Name: name, Help: help}, labels)
}

// observe exports the state of s.
func (m *metrics) observe(s *Store) {
	for name, gauge := range map[string]struct {
		help  string
		value func() float64
	}{
		"store_keys":           {"Keys in the index.", func() float64 { return float64(s.feed.index.len()) }},
		"store_cached_records": {"Records in memory.", func() float64 { return float64(s.feed.cache.len()) }},
		"store_synced":         {"1 when the first list of the keys namespace is in, else 0.", func() float64 { return truth(s.Synced()) }},
		"store_last_event_timestamp_seconds": {"When the last list, event or bookmark came from the watch of the keys namespace; 0: none yet. More than 180 s ago is a stalled watch.",
			func() float64 { return float64(s.feed.heard.Load()) / float64(time.Second) }},
		"policies": {"Accepted policies.", func() float64 { return float64(s.feed.policies.len()) }},
	} {
		m.factory.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "keygate", Name: name, Help: gauge.help}, gauge.value)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// rejected counts an object that can't be used.
func (m *metrics) rejected(kind, reason string) { m.rejections.WithLabelValues(kind, reason).Inc() }

// feedMetrics are the failures of one feed.
type feedMetrics struct{ lists, watches prometheus.Counter }

func (m *metrics) feed(kind string) *feedMetrics {
	return &feedMetrics{lists: m.lists.WithLabelValues(kind), watches: m.watches.WithLabelValues(kind)}
}

// listed counts a list that failed.
func (m *feedMetrics) listed(err error) {
	if err != nil {
		m.lists.Inc()
	}
}

// watched counts a watch that could not be started.
func (m *feedMetrics) watched(err error) {
	if err != nil {
		m.watches.Inc()
	}
}
