package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"keygate.dev/keygate/hack/testbin"
)

// prometheus is a real one that scrapes the stack.
type prometheus struct{ url string }

// listeningOn is where Prometheus says that it listens.
var listeningOn = regexp.MustCompile(`msg="Listening on" .*address=(\S+)`)

// startPrometheus scrapes metrics pages twice a second, until the test ends: jobs maps
// the Services that the chart's monitors find to base URLs. The labels are those that
// the monitors give.
func startPrometheus(t *testing.T, jobs map[string][]string) *prometheus {
	t.Helper()
	bin, err := testbin.Prometheus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	scrapes := ""
	for job, pages := range jobs {
		scrapes += "- job_name: " + job + "\n  static_configs:\n"
		for i, page := range pages {
			scrapes += fmt.Sprintf("  - {targets: [%q], labels: {namespace: keygate-system, pod: %s-%d}}\n", strings.TrimPrefix(page, "http://"), job, i)
		}
	}
	if err := os.WriteFile(config, []byte("global: {scrape_interval: 500ms, scrape_timeout: 400ms}\nscrape_configs:\n"+scrapes), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "prometheus"), "--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(log); lines.Scan(); {
			if found := listeningOn.FindStringSubmatch(lines.Text()); found != nil {
				address <- found[1]
			}
		}
		close(address)
	}()
	t.Cleanup(func() { stop(); _ = cmd.Wait() }) // it was told to end
	at, listens := <-address
	if !listens {
		t.Fatal("Prometheus ended before it listened")
	}
	p := &prometheus{"http://" + at}
	p.becomesReady(t)
	return p
}

// becomesReady waits until Prometheus answers queries.
func (p *prometheus) becomesReady(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		resp, err := http.Get(p.url + "/-/ready")
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatal("Prometheus did not become ready")
}

// query returns how many series an expression yields, without those that are no number,
// such as a share of nothing.
func (p *prometheus) query(expression string) (int, error) {
	resp, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(expression))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Error != "" {
		return 0, fmt.Errorf("%s: %s", expression, answer.Error)
	}
	numbers := 0
	for _, series := range answer.Data.Result {
		if series.Value[1] != "NaN" {
			numbers++
		}
	}
	return numbers, nil
}

// returnsData waits until an expression yields at least one series.
func (p *prometheus) returnsData(t *testing.T, where, expression string) {
	t.Helper()
	var series int
	var err error
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if series, err = p.query(expression); err != nil || series > 0 {
			break
		}
	}
	if err != nil || series == 0 {
		t.Errorf("%s: %s yields nothing, error %v", where, expression, err)
	}
}

// TestMetricsLint: the names and help of our metrics are as Prometheus' own linter
// likes them.
func TestMetricsLint(t *testing.T) {
	bin, err := testbin.Prometheus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"METRICS", "CONTROLLER_METRICS"} {
		var ours strings.Builder
		for line := range strings.Lines(get(t, shared.vars[name]+"/metrics")) {
			if strings.Contains(line, "keygate_") {
				ours.WriteString(line)
			}
		}
		if !strings.Contains(ours.String(), "# HELP keygate_") {
			t.Fatalf("%s has no metrics of ours", name)
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "promtool"), "check", "metrics")
		cmd.Stdin = strings.NewReader(ours.String())
		if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
			t.Errorf("%s: promtool check metrics: %v\n%s", name, err, said)
		}
	}
}
