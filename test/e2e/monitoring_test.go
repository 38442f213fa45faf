package e2e

import (
	"bufio"
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/test/chart"
	"keygate.dev/keygate/test/rig"
)

// notOurs are metrics that others export: Prometheus itself.
var notOurs = []string{"up"}

// given are labels that Prometheus or its operator adds.
var given = []string{"job", "namespace", "pod", "instance", "le"}

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

// TestMonitoring: a real Prometheus that scrapes a real run, with limits counted in
// memory and in Redis, and with TLS, has data for everything that an alert compares and for every
// panel of the dashboard, and the programs export each metric and label that is asked for.
func TestMonitoring(t *testing.T) {
	counting := start(t, "REDIS=1")
	stacks := []*stack{shared, counting}
	secure := shared.running.StartExtauthz(t, rig.ServerFlags(rig.NewAuthority(t).Issue(t, "keygate-extauthz"))...)
	pages := map[string][]string{
		"keygate-extauthz-metrics":   {shared.vars["METRICS"], counting.vars["METRICS"], secure.Admin},
		"keygate-controller-metrics": {shared.vars["CONTROLLER_METRICS"], counting.vars["CONTROLLER_METRICS"]},
	}
	p := startPrometheus(t, pages)
	p.returnsData(t, "scraped", "count(up == 1) == 5")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer func() { cancel(); wg.Wait() }()
	for _, s := range stacks {
		calls := s.exercise(t)
		wg.Go(func() { s.repeat(ctx, t, calls) })
	}
	expressions := chart.Expressions(t)
	parsed := chart.Parse(t, expressions)
	p.returnsData(t, "Redis counts", "sum(rate(keygate_ratelimit_requests_total{backend=\"redis\",result=\"allowed\"}[1m])) > 0")
	if err := syscall.Kill(counting.pid(t, "REDIS"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for i, expression := range expressions {
		for _, part := range parsed[i].Parts {
			p.returnsData(t, expression.Where, part)
		}
	}
	seen := map[string][]string{}
	for _, urls := range pages {
		for _, url := range urls {
			scrape(t, url, seen)
		}
	}
	for i, expression := range expressions {
		findsLabels(t, expression.Where, parsed[i], seen)
	}
}

// findsLabels fails the test for what an expression asks for and nobody exports.
func findsLabels(t *testing.T, where string, parsed chart.Parsed, seen map[string][]string) {
	t.Helper()
	labels := slices.Clone(given)
	for _, series := range parsed.Series {
		exported, there := seen[series.Metric]
		if !there && !slices.Contains(notOurs, series.Metric) {
			t.Errorf("%s: nobody exports %s", where, series.Metric)
		}
		labels = append(labels, exported...)
		for _, label := range series.Labels {
			if !slices.Contains(exported, label) && !slices.Contains(given, label) {
				t.Errorf("%s: %s has no label %s", where, series.Metric, label)
			}
		}
	}
	for _, label := range parsed.Groups {
		if !slices.Contains(labels, label) {
			t.Errorf("%s: there is no label %s to group by", where, label)
		}
	}
}

// repeat makes calls, over and over, until ctx ends.
func (s *stack) repeat(ctx context.Context, t *testing.T, calls []call) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		if _, err := s.try(calls[i%len(calls)]); err != nil {
			t.Error(err)
			return
		}
		<-tick.C
	}
}

// exercise brings about what is counted only once it happened: an object in the keys
// namespace that nobody sealed, and decisions of several kinds, by the calls that it
// returns: one that is let in and counted, and ones without a key, with an unknown and
// with a revoked one, and beyond a limit.
func (s *stack) exercise(t *testing.T) []call {
	t.Helper()
	ns, host := s.namespace(t, nil), newHost()
	s.policy(t, ns, "limited", plainPolicy(host)+`
defaultPlan: large
plans: [{name: large, limits: [{requests: 100000, per: 1h}]}, {name: small, limits: [{requests: 1, per: 1h}]}]`)
	at := func(token string) call { return call{host: host, path: "/any", token: token} }
	calls := []call{at(""), at("pk_" + strings.Repeat("u", 40))}
	for name, spec := range map[string]string{"caller": "", "limited": "\nplan: small", "revoked": ""} {
		calls = append(calls, at(s.key(t, ns, name, "policyRef: {name: limited}"+spec)))
	}
	s.patch(t, ns, "revoked", `{"spec":{"state":"Revoked"}}`)
	s.wait(t, s.keys(ns), "revoked", "Ready", "False", "Revoked")
	forged := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "key-" + strings.Repeat("0", 64), Namespace: keysNamespace},
		Type:       "keygate.dev/hashed-key", Data: map[string][]byte{"record": []byte("{}")},
	}
	secrets := s.kube.CoreV1().Secrets(forged.Namespace)
	before := s.metricSum(t, "keygate_store_rejected_objects_total")
	if _, err := secrets.Create(t.Context(), forged, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = secrets.Delete(context.Background(), forged.Name, metav1.DeleteOptions{}) }) // the controller may have
	eventually(t, func() string {
		if s.metricSum(t, "keygate_store_rejected_objects_total") > before {
			return ""
		}
		return "the forged record was not rejected"
	})
	return calls
}
