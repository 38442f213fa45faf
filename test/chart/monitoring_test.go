package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestExpressions: Prometheus can read every expression. Whether it finds anything is
// tested with the real programs, in test/e2e.
func TestExpressions(t *testing.T) {
	expressions := Expressions(t)
	if len(expressions) < 40 {
		t.Errorf("there are only %d expressions", len(expressions))
	}
	broken := Expression{"broken", "sum("}
	for i, parsed := range Parse(t, append(expressions, broken)) {
		if i == len(expressions) {
			if parsed.Error == "" {
				t.Error("a broken expression was read")
			}
			continue
		}
		if parsed.Error != "" || len(parsed.Series) == 0 {
			t.Errorf("%s: %s: %s", expressions[i].Where, expressions[i].Text, parsed.Error)
		}
	}
}

// TestAlertsHaveRunbooks: each alert leads to a heading of docs/operating.md.
func TestAlertsHaveRunbooks(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(Root(t), "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^#+ (\w+)$`).FindAllStringSubmatch(string(page), -1) {
		headings[strings.ToLower(match[1])] = true
	}
	alerts := Alerts(t, Render(t, "--set=monitoring.prometheusRule.enabled=true,monitoring.prometheusRule.runbooks=https://runbooks.test/keygate"))
	for _, alert := range alerts {
		anchor, ours := strings.CutPrefix(alert.Annotations["runbook_url"], "https://runbooks.test/keygate#")
		if !ours || !headings[anchor] {
			t.Errorf("%s: runbook_url %s leads nowhere", alert.Alert, alert.Annotations["runbook_url"])
		}
		if _, err := time.ParseDuration(alert.For); err != nil || alert.Annotations["summary"] == "" || alert.Labels["severity"] == "" {
			t.Errorf("%+v", alert)
		}
		delete(headings, anchor)
	}
	for heading := range headings {
		if strings.HasPrefix(heading, "keygate") {
			t.Errorf("docs/operating.md has a runbook for %s, which is no alert", heading)
		}
	}
	if len(alerts) < 15 {
		t.Errorf("there are only %d alerts", len(alerts))
	}
}

// TestCertificateAlert: where there is TLS, there is an alert that knows how long a
// certificate lasts.
func TestCertificateAlert(t *testing.T) {
	const end = "keygate_tls_certificate_expiration_timestamp_seconds"
	const quarter = "(" + end + " - time()) / (" + end + " - keygate_tls_certificate_not_before_timestamp_seconds) < 0.25"
	for values, want := range map[string]string{
		"tls.provider=Builtin":     quarter,
		"tls.provider=CertManager": quarter,
		"tls.provider=Existing,tls.existing.serverSecret=s,tls.existing.clientSecret=c": quarter + " and " + end + " - time() < 1209600",
		"tls.provider=None": "",
	} {
		got := ""
		for _, alert := range Alerts(t, Render(t, "--set=monitoring.prometheusRule.enabled=true,"+values)) {
			if alert.Alert == "KeygateCertificateExpires" {
				got = alert.Expr
			}
		}
		if got != want {
			t.Errorf("%s: %s", values, got)
		}
	}
}

// TestJobsOfTheirOwn: alerts and dashboard look for the metrics under the names that a
// Prometheus without the ServiceMonitors has for them.
func TestJobsOfTheirOwn(t *testing.T) {
	objects := Render(t, "--set=monitoring.prometheusRule.enabled=true,monitoring.dashboard.enabled=true",
		"--set=monitoring.jobs.controller=one,monitoring.jobs.extauthz=two")
	for _, object := range []*unstructured.Unstructured{objects.Find("PrometheusRule", "keygate"), objects.Find("ConfigMap", "keygate-dashboard")} {
		text, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "keygate-controller-metrics") || strings.Contains(string(text), "keygate-extauthz-metrics") {
			t.Errorf("%s has the ServiceMonitors' names", id(object))
		}
	}
	for _, alert := range Alerts(t, objects) {
		if want := map[string]string{"KeygateControllerDown": `job="one"`, "KeygateExtauthzDown": `job="two"`}[alert.Alert]; !strings.Contains(alert.Expr, want) {
			t.Errorf("%s: %s", alert.Alert, alert.Expr)
		}
	}
}

// TestMonitoringIsOff: where there is no Prometheus operator, its kinds do not exist.
func TestMonitoringIsOff(t *testing.T) {
	for _, object := range Render(t) {
		if strings.HasPrefix(object.GetAPIVersion(), "monitoring.") || object.GetName() == "keygate-dashboard" {
			t.Errorf("%s is there unasked", id(object))
		}
	}
}

// TestServiceMonitors: each finds one Service with a port of that name, and alerts
// and panels go by its name, which is the job's.
func TestServiceMonitors(t *testing.T) {
	objects := Render(t, "--set=monitoring.serviceMonitor.enabled=true,monitoring.prometheusRule.enabled=true")
	for _, component := range []string{"controller", "extauthz"} {
		monitor := objects.Find("ServiceMonitor", "keygate-"+component)
		if monitor == nil {
			t.Fatalf("there is none for %s", component)
		}
		labels, _, err := unstructured.NestedStringMap(monitor.Object, "spec", "selector", "matchLabels")
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, object := range objects {
			if object.GetKind() != "Service" {
				continue
			}
			var service corev1.Service
			objects.into(t, "Service", object.GetName(), &service)
			if isSubset(labels, service.Labels) && service.Spec.Ports[0].Name == "metrics" {
				found = append(found, service.Name)
			}
		}
		job := "keygate-" + component + "-metrics"
		down := slices.ContainsFunc(Alerts(t, objects), func(a Alert) bool { return strings.Contains(a.Expr, `absent(up{job="`+job+`"`) })
		if len(found) != 1 || found[0] != job || !down {
			t.Errorf("%s: found %v; alerts when it is down: %v", component, found, down)
		}
	}
}

func isSubset(part, whole map[string]string) bool {
	for key, value := range part {
		if whole[key] != value {
			return false
		}
	}
	return true
}
