package e2e

import (
	"bufio"
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/test/chart"
)

// notOurs are metrics that others export: Prometheus itself, and kube-state-metrics.
var notOurs = []string{"up", "kube_cronjob_status_last_successful_time"}

// given are labels that Prometheus or its operator adds.
var given = []string{"job", "namespace", "pod", "instance", "le", "cronjob"}

// labelName finds the names of the labels of a sample.
var labelName = regexp.MustCompile(`([a-zA-Z_]\w*)="`)

// scrape adds the metrics of an admin listener, with the labels that each one has.
func scrape(t *testing.T, url string, seen map[string][]string) {
	t.Helper()
	for lines := bufio.NewScanner(strings.NewReader(get(t, url+"/metrics"))); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		end := strings.IndexAny(line, "{ ")
		name := line[:end]
		seen[name] = append(seen[name], "")
		for _, label := range labelName.FindAllStringSubmatch(line[end:], -1) {
			if !slices.Contains(seen[name], label[1]) {
				seen[name] = append(seen[name], label[1])
			}
		}
	}
}

// TestMonitoringFindsMetrics: every metric and label that an alert or the dashboard
// asks for is exported by the programs: by those that count in memory, or by those
// that count in Redis.
func TestMonitoringFindsMetrics(t *testing.T) {
	seen := map[string][]string{}
	for _, s := range []*stack{shared, start(t, "REDIS=1")} {
		s.exercise(t)
		scrape(t, s.vars["METRICS"], seen)
		scrape(t, s.vars["CONTROLLER_METRICS"], seen)
	}
	expressions := chart.Expressions(t)
	for i, parsed := range chart.Parse(t, expressions) {
		labels := slices.Clone(given)
		for _, series := range parsed.Series {
			exported, there := seen[series.Metric]
			if !there && !slices.Contains(notOurs, series.Metric) {
				t.Errorf("%s: nobody exports %s", expressions[i].Where, series.Metric)
			}
			labels = append(labels, exported...)
			for _, label := range series.Labels {
				if !slices.Contains(exported, label) && !slices.Contains(given, label) {
					t.Errorf("%s: %s has no label %s", expressions[i].Where, series.Metric, label)
				}
			}
		}
		for _, label := range parsed.Groups {
			if !slices.Contains(labels, label) {
				t.Errorf("%s: there is no label %s to group by", expressions[i].Where, label)
			}
		}
	}
}

// exercise brings about what is counted only once it happened: a decision that uses a
// limit, and an object in the keys namespace that nobody sealed.
func (s *stack) exercise(t *testing.T) {
	t.Helper()
	ns, host := s.namespace(t, nil), newHost()
	s.policy(t, ns, "limited", plainPolicy(host)+`
defaultPlan: small
plans: [{name: small, limits: [{requests: 100, per: 1h}]}]`)
	token := s.key(t, ns, "caller", "policyRef: {name: limited}")
	s.do(t, call{host: host, path: "/any", token: token}).echo(t)
	forged := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "key-" + strings.Repeat("0", 64), Namespace: "keygate-keys"},
		Type:       "keygate.dev/hashed-key", Data: map[string][]byte{"record": []byte("{}")},
	}
	secrets := s.kube.CoreV1().Secrets(forged.Namespace)
	if _, err := secrets.Create(t.Context(), forged, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = secrets.Delete(context.Background(), forged.Name, metav1.DeleteOptions{}) }) // the controller may have
	eventually(t, func() string {
		if strings.Contains(get(t, s.vars["METRICS"]+"/metrics"), "keygate_store_rejected_objects_total{") {
			return ""
		}
		return "the forged record was not rejected"
	})
}
