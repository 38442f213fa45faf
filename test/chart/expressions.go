package chart

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Expression is one of an alert or a panel of the dashboard.
type Expression struct {
	// Where it stands: the alert's name, or the panel's title.
	Where string
	// Text in PromQL, with Grafana's variables filled in.
	Text string
}

// variables are Grafana's, with something in their place that parses.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$policy", ".*", "${datasource}", "prometheus")

// Expressions are those of every alert and every panel, as the chart renders them.
func Expressions(tb testing.TB) []Expression {
	tb.Helper()
	objects := Render(tb, "--set=monitoring.prometheusRule.enabled=true,monitoring.dashboard.enabled=true")
	var all []Expression
	for _, rule := range Alerts(tb, objects) {
		all = append(all, Expression{rule.Alert, rule.Expr})
	}
	for _, panel := range panels(tb, objects) {
		for _, target := range panel.Targets {
			all = append(all, Expression{panel.Title, variables.Replace(target.Expr)})
		}
	}
	return all
}

// Alert is one of the PrometheusRule.
type Alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

// Alerts are those of a rendering.
func Alerts(tb testing.TB, objects Objects) []Alert {
	tb.Helper()
	rule := objects.Find("PrometheusRule", "keygate")
	if rule == nil {
		tb.Fatal("there is no PrometheusRule")
	}
	var spec struct {
		Spec struct{ Groups []struct{ Rules []Alert } }
	}
	text, err := rule.MarshalJSON()
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		tb.Fatal(err)
	}
	return spec.Spec.Groups[0].Rules
}

// panel is one of the dashboard.
type panel struct {
	Title   string
	Targets []struct{ Expr string }
}

func panels(tb testing.TB, objects Objects) []panel {
	tb.Helper()
	config := objects.Find("ConfigMap", "keygate-dashboard")
	if config == nil {
		tb.Fatal("there is no dashboard")
	}
	text, _ := config.Object["data"].(map[string]any)["keygate.json"].(string)
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal([]byte(text), &dashboard); err != nil {
		tb.Fatal(err)
	}
	return dashboard.Panels
}

// Parsed is what Prometheus's parser makes of an expression.
type Parsed struct {
	Series []struct {
		Metric string
		Labels []string
	}
	Groups []string
	// Parts are what an alert compares with its thresholds, or the whole expression.
	Parts []string
	Error string
}

// Parse lets Prometheus's own parser, which is pinned in hack/promql, read
// expressions. The answers are in the same order.
func Parse(tb testing.TB, expressions []Expression) []Parsed {
	tb.Helper()
	texts := make([]string, len(expressions))
	for i, expression := range expressions {
		texts[i] = expression.Text
	}
	in, err := json.Marshal(texts)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), "go", "run", ".")
	cmd.Dir = filepath.Join(Root(tb), "hack", "promql")
	cmd.Stdin, cmd.Stderr = strings.NewReader(string(in)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("hack/promql: %v", err)
	}
	var parsed []Parsed
	if err := json.Unmarshal(out, &parsed); err != nil || len(parsed) != len(texts) {
		tb.Fatalf("hack/promql: %d answers to %d expressions, %v", len(parsed), len(texts), err)
	}
	return parsed
}
