//go:build kind

package kind

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"keygate.dev/keygate/test/conformance"
)

// rolls is how often both Deployments are rolled.
const rolls = 10

// fault is something that happens to an installation, and what it may cost.
type fault struct {
	name string
	// bring brings it about, and returns when everything is as before.
	bring func(t *testing.T, w *world)
	// share of the requests may fail, for less than a time at a stretch. 0: none.
	share float64
	time  time.Duration
}

var faults = []fault{
	{name: "nothing", bring: func(*testing.T, *world) {}},
	{name: "each pod deleted in turn", bring: deletePods},
	{name: "SIGKILL of one extauthz", bring: killExtauthz, share: 0.001, time: time.Second},
	{name: fmt.Sprintf("both Deployments rolled %d times", rolls), bring: rollAll},
	{name: "node cordoned, pods evicted", bring: evictPods},
	{name: "API server killed", bring: killAPIServer},
	{name: "helm upgrade and rollback", bring: upgrade},
}

// TestFaults brings about one fault after another under load, and says what each cost.
// Whatever happens, the revoked key lets nobody in.
func TestFaults(t *testing.T) {
	w := open(t)
	path, host := "/v1/stepsies", conformance.Stepsies.Host
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "fault\ttook\trequests\tfailed\twrong allows\tlongest to recover")
	defer table.Flush()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			l := newLoad(variable(t, "GATEWAY"), host, path, w.tokens["read"], w.tokens["revoked"])
			w.whole(t) // pods that an upgrade has replaced may still be about to end
			w.settled(t, l)
			begin := time.Now()
			l.during(t, func() { f.bring(t, w) })
			fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%s\n", f.name, time.Since(begin).Round(time.Second), l.requests, l.failed, l.wrong, l.longest.Round(time.Millisecond))
			f.judge(t, l)
		})
	}
}

// judge fails where a fault cost more than it may.
func (f fault) judge(t *testing.T, l *load) {
	t.Helper()
	if l.wrong > 0 {
		t.Errorf("%d requests with the revoked key were let in", l.wrong)
	}
	if share := float64(l.failed) / float64(l.requests); share > f.share || l.failed > 0 && l.longest >= f.time {
		t.Errorf("%d of %d requests failed, for up to %s: %s", l.failed, l.requests, l.longest, l.failures())
	}
}

// settled waits until the gateway lets the valid key in and the revoked one not.
func (w *world) settled(t *testing.T, l *load) {
	t.Helper()
	for token, want := range map[string]int{l.valid: 200, l.revoked: 401} {
		eventually(t, func() string {
			status, err := l.do(token)
			if err != nil || status != want {
				return fmt.Sprintf("got %d, want %d: %v", status, want, err)
			}
			return ""
		})
	}
}

// lines are those of a text that are not empty.
func lines(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == '\n' })
}
