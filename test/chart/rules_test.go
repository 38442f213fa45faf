package chart

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"keygate.dev/keygate/hack/testbin"
)

// healthy is a run without trouble: what Prometheus has of three replicas of extauthz
// and a controller, by series, a value each minute. The clock begins at 0.
var healthy = map[string]string{
	`up{job="keygate-extauthz-metrics",namespace="keygate-system",pod="a"}`:                           "1x180",
	`up{job="keygate-extauthz-metrics",namespace="keygate-system",pod="b"}`:                           "1x180",
	`up{job="keygate-controller-metrics",namespace="keygate-system",pod="c"}`:                         "1x180",
	`keygate_store_synced{pod="a"}`:                                                                   "1x180",
	`keygate_store_last_event_timestamp_seconds{pod="a"}`:                                             "0+60x180",
	`keygate_store_list_failures_total{pod="a"}`:                                                      "0x180",
	`keygate_store_watch_failures_total{pod="a"}`:                                                     "0x180",
	`keygate_store_rejected_objects_total{pod="a"}`:                                                   "0x180",
	`keygate_store_lookups_total{pod="a",result="hit"}`:                                               "0+6000x180",
	`keygate_store_lookups_total{pod="a",result="fetched"}`:                                           "0x180",
	`keygate_store_relist_repairs_total{pod="a"}`:                                                     "0x180",
	`keygate_decisions_total{pod="a",reason="allowed"}`:                                               "0+5000x180",
	`keygate_decisions_total{pod="a",reason="invalid_key"}`:                                           "0+1000x180",
	`keygate_decisions_total{pod="a",reason="unavailable"}`:                                           "0+1x180",
	`keygate_decision_duration_seconds_bucket{pod="a",le="0.001"}`:                                    "0+6000x180",
	`keygate_decision_duration_seconds_bucket{pod="a",le="0.1"}`:                                      "0+6001x180",
	`keygate_decision_duration_seconds_bucket{pod="a",le="+Inf"}`:                                     "0+6001x180",
	`keygate_panics_total{pod="a"}`:                                                                   "0x180",
	`keygate_ratelimit_requests_total{pod="a",result="allowed"}`:                                      "0+5000x180",
	`keygate_ratelimit_requests_total{pod="a",result="error"}`:                                        "0x180",
	`keygate_ratelimit_evictions_total{pod="a"}`:                                                      "0x180",
	`keygate_usage_lag_seconds{pod="a"}`:                                                              "60x180",
	`keygate_usage_writes_total{pod="a",result="written"}`:                                            "0+60x180",
	`keygate_usage_writes_total{pod="a",result="refused"}`:                                            "0x180",
	`keygate_usage_writes_total{pod="a",result="failed"}`:                                             "0x180",
	`keygate_usage_dropped_total{pod="a"}`:                                                            "0x180",
	`keygate_drift_restored_total{pod="c"}`:                                                           "0x180",
	`keygate_apikeys{pod="c",reason="Active"}`:                                                        "100x180",
	`controller_runtime_reconcile_errors_total{job="keygate-controller-metrics",controller="apikey"}`: "0+1x20 20x160",
	`keygate_tls_certificate_not_before_timestamp_seconds{pod="a"}`:                                   "0x180",
	`keygate_tls_certificate_expiration_timestamp_seconds{pod="a"}`:                                   "36000x180",
}

// trouble is what makes an alert fire.
type trouble struct {
	// series that are otherwise than in a healthy run.
	series map[string]string
	// labels that the alert has beside its severity.
	labels map[string]string
	// also are alerts that it sets off too.
	also map[string]map[string]string
}

// of is trouble that one series shows.
func of(series, values string, labels ...string) trouble {
	t := trouble{series: map[string]string{series: values}, labels: map[string]string{}}
	for i := 0; i < len(labels); i += 2 {
		t.labels[labels[i]] = labels[i+1]
	}
	return t
}

// once is a counter that rises by one a while before the end.
const once = "0x145 1x35"

// troubles are those of each alert.
var troubles = map[string]trouble{
	"KeygateExtauthzDown": {
		series: map[string]string{
			`up{job="keygate-extauthz-metrics",namespace="keygate-system",pod="a"}`: "1x100 0x80",
			`up{job="keygate-extauthz-metrics",namespace="keygate-system",pod="b"}`: "1x100 0x80",
		},
		labels: map[string]string{},
		also:   map[string]map[string]string{"KeygateExtauthzDegraded": {}},
	},
	"KeygateExtauthzDegraded":    of(`up{job="keygate-extauthz-metrics",namespace="keygate-system",pod="b"}`, "1x100 0x80"),
	"KeygateStoreNotSynced":      of(`keygate_store_synced{pod="a"}`, "0x180", "pod", "a"),
	"KeygateStoreStale":          of(`keygate_store_last_event_timestamp_seconds{pod="a"}`, "0+60x140 8400x40", "pod", "a"),
	"KeygateStoreListFails":      of(`keygate_store_list_failures_total{pod="a"}`, "0x120 0+1x60", "pod", "a"),
	"KeygateUnavailable":         of(`keygate_decisions_total{pod="a",reason="unavailable"}`, "0+60x180"),
	"KeygateDecisionsSlow":       of(`keygate_decision_duration_seconds_bucket{pod="a",le="0.001"}`, "0+3000x180"),
	"KeygatePanics":              of(`keygate_panics_total{pod="a"}`, once, "pod", "a"),
	"KeygateStoreRejectsObjects": of(`keygate_store_rejected_objects_total{pod="a"}`, once, "pod", "a"),
	"KeygateCacheTooSmall":       of(`keygate_store_lookups_total{pod="a",result="fetched"}`, "0+600x180", "pod", "a"),
	"KeygateRelistRepairs":       of(`keygate_store_relist_repairs_total{pod="a"}`, once, "pod", "a"),
	"KeygateRateLimitFails":      of(`keygate_ratelimit_requests_total{pod="a",result="error"}`, "0+1x180"),
	"KeygateRateLimitEvicts":     of(`keygate_ratelimit_evictions_total{pod="a"}`, "0+1x180", "pod", "a"),
	"KeygateUsageLate":           of(`keygate_usage_lag_seconds{pod="a"}`, "60x100 7200x80"),
	"KeygateUsageNotWritten":     of(`keygate_usage_writes_total{pod="a",result="refused"}`, "0+1x180"),
	"KeygateControllerDown":      of(`up{job="keygate-controller-metrics",namespace="keygate-system",pod="c"}`, "1x100 0x80"),
	"KeygateDriftRestored":       of(`keygate_drift_restored_total{pod="c"}`, once, "pod", "c"),
	"KeygateRecordInvalid":       of(`keygate_apikeys{pod="c",reason="RecordInvalid"}`, "_x100 1x80"),
	"KeygateReconcileErrors": of(`controller_runtime_reconcile_errors_total{job="keygate-controller-metrics",controller="apikey"}`, "0+1x180",
		"controller", "apikey"),
	"KeygateCertificateExpires": of(`keygate_tls_certificate_expiration_timestamp_seconds{pod="a"}`, "10000x180", "pod", "a"),
}

// at is when it is looked which alerts fire: long after all began.
const at = "150m"

// ruleTest is one of promtool's.
func ruleTest(name string, alerts []Alert, series map[string]string, firing map[string]map[string]string) map[string]any {
	var input, expected []map[string]any
	for _, s := range slices.Sorted(maps.Keys(series)) {
		input = append(input, map[string]any{"series": s, "values": series[s]})
	}
	for _, alert := range alerts {
		fires := []map[string]any{}
		if labels, ok := firing[alert.Alert]; ok {
			labels = maps.Clone(labels)
			maps.Copy(labels, alert.Labels)
			fires = append(fires, map[string]any{"exp_labels": labels, "exp_annotations": alert.Annotations})
		}
		expected = append(expected, map[string]any{"eval_time": at, "alertname": alert.Alert, "exp_alerts": fires})
	}
	return map[string]any{"name": name, "interval": "1m", "input_series": input, "alert_rule_test": expected}
}

// ruleTests are one that fires nothing, and one for each alert, which fires it and
// what goes with it.
func ruleTests(t *testing.T, alerts []Alert) []map[string]any {
	t.Helper()
	tests := []map[string]any{ruleTest("healthy", alerts, healthy, nil)}
	for _, alert := range alerts {
		trouble, known := troubles[alert.Alert]
		if !known {
			t.Errorf("nothing is known to set off %s", alert.Alert)
		}
		series := maps.Clone(healthy)
		maps.Copy(series, trouble.series)
		firing := map[string]map[string]string{alert.Alert: trouble.labels}
		maps.Copy(firing, trouble.also)
		tests = append(tests, ruleTest(alert.Alert, alerts, series, firing))
	}
	return tests
}

// promtool runs promtool on a file.
func promtool(t *testing.T, command, file string) (string, error) {
	t.Helper()
	bin, err := testbin.Prometheus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return run(t.Context(), filepath.Join(bin, "promtool"), command, "rules", file)
}

// write writes JSON, which is YAML too, into a file.
func write(t *testing.T, path string, value any) {
	t.Helper()
	text, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAlertsFire: Prometheus's own tool finds nothing wrong with the rules, a healthy
// run fires no alert, and each alert fires by its trouble alone.
func TestAlertsFire(t *testing.T) {
	alerts := Alerts(t, Render(t, "--set=monitoring.prometheusRule.enabled=true"))
	var rules []map[string]any
	for _, a := range alerts {
		rules = append(rules, map[string]any{"alert": a.Alert, "expr": a.Expr, "for": a.For, "labels": a.Labels, "annotations": a.Annotations})
	}
	dir := t.TempDir()
	file, tests := filepath.Join(dir, "rules.yaml"), filepath.Join(dir, "tests.yaml")
	write(t, file, map[string]any{"groups": []any{map[string]any{"name": "keygate", "rules": rules}}})
	write(t, tests, map[string]any{"rule_files": []string{"rules.yaml"}, "evaluation_interval": "1m", "tests": ruleTests(t, alerts)})
	if said, err := promtool(t, "check", file); err != nil {
		t.Fatal(fmt.Errorf("%w\n%s", err, said))
	}
	if said, err := promtool(t, "test", tests); err != nil {
		t.Error(fmt.Errorf("%w\n%s", err, said))
	}
	if len(troubles) != len(alerts) {
		t.Errorf("%d troubles set off %d alerts", len(troubles), len(alerts))
	}
}
