package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
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

// TestCertificateAlert is there only where the chart's own CronJob is.
func TestCertificateAlert(t *testing.T) {
	for provider, want := range map[string]bool{"Builtin": true, "None": false, "CertManager": false} {
		got := false
		for _, alert := range Alerts(t, Render(t, "--set=monitoring.prometheusRule.enabled=true,tls.provider="+provider)) {
			got = got || alert.Alert == "KeygateCertificatesNotRenewed"
		}
		if got != want {
			t.Errorf("%s: %v", provider, got)
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
