package keystore

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"keygate.dev/keygate/pkg/apikey"
)

// TestMetrics looks up a key in each way and reads what is exported.
func TestMetrics(t *testing.T) {
	unfed, _ := newUnfed(t, 1)
	o := unfed.options
	registry := prometheus.NewRegistry()
	o.Registerer, o.Log = registry, slog.New(slog.DiscardHandler)
	o.Now = func() time.Time { return time.Unix(1234, 500_000_000) }
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	api := &apiServer{}
	s.fetcher.get = api.read
	s.root.Store(newRoot(t))
	lookup(t, s, digest(1)) // failed: not synced
	evicted := at(seal(t, s, digest(2), apikey.Active), 6)
	syncAt(t, s, 9, at(seal(t, s, digest(1), apikey.Active), 5), evicted,
		at(sealPolicy(t, s.root.Load().Sealer, source("stepsies", "a", "api.stepsies.com")), 7))
	lookup(t, s, digest(1))
	lookup(t, s, digest(3))
	lookup(t, s, digest(4))
	api.answer(nil, errDown)
	lookup(t, s, digest(2))
	api.answer(evicted, nil)
	lookup(t, s, digest(2))
	event(t, s.feed.Update, at(spoiled(seal(t, s, digest(1), apikey.Active)), 10))

	got := map[string]float64{}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			got[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	want := map[string]float64{
		"keygate_policies":                                         1,
		"keygate_store_cached_records":                             1,
		"keygate_store_keys":                                       2,
		"keygate_store_last_event_timestamp_seconds":               1234.5,
		"keygate_store_list_failures_total keys":                   0,
		"keygate_store_list_failures_total root":                   0,
		"keygate_store_lookups_total absent":                       2,
		"keygate_store_lookups_total failed":                       2,
		"keygate_store_lookups_total fetched":                      1,
		"keygate_store_lookups_total hit":                          1,
		"keygate_store_rejected_objects_total seal record":         1,
		"keygate_store_rejected_objects_total missing root":        0,
		"keygate_store_rejected_objects_total name other":          0,
		"keygate_store_rejected_objects_total name policy":         0,
		"keygate_store_rejected_objects_total name record":         0,
		"keygate_store_rejected_objects_total seal policy":         0,
		"keygate_store_rejected_objects_total seal_version policy": 0,
		"keygate_store_rejected_objects_total seal_version record": 0,
		"keygate_store_rejected_objects_total type other":          0,
		"keygate_store_rejected_objects_total unreadable policy":   0,
		"keygate_store_rejected_objects_total unreadable record":   0,
		"keygate_store_rejected_objects_total unreadable root":     0,
		"keygate_store_rejected_objects_total version other":       0,
		"keygate_store_rejected_objects_total version policy":      0,
		"keygate_store_rejected_objects_total version record":      0,
		"keygate_store_relist_repairs_total added":                 0,
		"keygate_store_relist_repairs_total removed":               0,
		"keygate_store_relist_repairs_total updated":               0,
		"keygate_store_relists_total failed":                       0,
		"keygate_store_relists_total full":                         0,
		"keygate_store_relists_total ok":                           0,
		"keygate_store_synced":                                     1,
		"keygate_store_watch_failures_total keys":                  0,
		"keygate_store_watch_failures_total root":                  0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("the metrics are not well named: %v, %v", problems, err)
	}
}
