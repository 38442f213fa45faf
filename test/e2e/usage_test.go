package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"keygate.dev/keygate/api/v1alpha1"
)

// status reads an APIKey's status.
func (s *stack) status(t *testing.T, namespace, name string) v1alpha1.APIKeyStatus {
	t.Helper()
	u, err := s.keys(namespace).Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	key := &v1alpha1.APIKey{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, key); err != nil {
		t.Fatal(err)
	}
	return key.Status
}

// isUsed waits until an APIKey was last used at a moment or later.
func (s *stack) isUsed(t *testing.T, namespace, name string, since time.Time) v1alpha1.APIKeyStatus {
	t.Helper()
	var status v1alpha1.APIKeyStatus
	eventually(t, func() string {
		status = s.status(t, namespace, name)
		if at := status.LastUsedAt; at == nil || at.Time.Before(since.Truncate(time.Minute)) {
			return fmt.Sprintf("%s was last used at %v, want %s or later", name, at, since)
		}
		return ""
	})
	return status
}

// TestLastUsed: a call shows in kubectl get apikeys, with the id of its token; a
// denial and a call of another key do not, and the key stays Ready.
func TestLastUsed(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	token := s.key(t, ns, "used", "policyRef: {name: plain}")
	idle := s.key(t, ns, "idle", "policyRef: {name: plain}")
	if a := s.do(t, call{host: host, path: "/things/1", token: idle}); a.status != http.StatusForbidden {
		t.Errorf("without the scope: %s", a)
	}
	start := time.Now()
	var id string
	for range 20 {
		id = s.do(t, call{host: host, path: "/any", token: token}).echo(t).first("x-apikey-id")
	}
	status := s.isUsed(t, ns, "used", start)
	if at, noted := status.Usage[id]; len(status.Usage) != 1 || !noted || !at.Time.Equal(status.LastUsedAt.Time) || at.Second() != 0 {
		t.Errorf("last used at %v, %v", status.LastUsedAt, status.Usage)
	}
	s.wait(t, s.keys(ns), "used", "Ready", "True", "Active")
	column := func(name string) string {
		fields := strings.Fields(s.kubectl(t, "get", "apikeys", "-n", ns, name, "-o", "jsonpath={.status.lastUsedAt}"))
		return strings.Join(fields, " ")
	}
	if got := column("used"); got != status.LastUsedAt.UTC().Format(time.RFC3339) {
		t.Errorf("kubectl shows %q", got)
	}
	if got := column("idle"); got != "" {
		t.Errorf("one that was only denied was last used at %q", got)
	}
	table := s.kubectl(t, "get", "apikeys", "-n", ns)
	if header, _, _ := strings.Cut(table, "\n"); !strings.Contains(header, "LAST USED") {
		t.Errorf("kubectl shows:\n%s", table)
	}
}

// TestLastUsedSurvivesRestarts: what was noted a moment before SIGTERM is written, and
// after a kill -9 in the middle of work others and the next one write on.
func TestLastUsedSurvivesRestarts(t *testing.T) {
	s := start(t, "EXTAUTHZ_REPLICAS=2", "EXTAUTHZ_FLAGS=--drain-delay=0s --usage-interval=5s")
	host := newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	tokens := map[string]string{}
	for _, name := range []string{"first", "second", "third", "fourth"} {
		tokens[name] = s.key(t, ns, name, "policyRef: {name: plain}")
	}
	use := func(name string) time.Time {
		t.Helper()
		now := time.Now()
		s.useAtAll(t, 2, ns+"/plain", call{host: host, path: "/any", token: tokens[name]})
		return now
	}
	for name, signal := range map[string]syscall.Signal{"first": syscall.SIGTERM, "second": syscall.SIGKILL} {
		at := use(name)
		if err := syscall.Kill(s.pid(t, "EXTAUTHZ"), signal); err != nil {
			t.Fatal(err)
		}
		s.isUsed(t, ns, name, at) // by the other replica, or at the end
		s.restart(t, "extauthz")
	}
	s.isUsed(t, ns, "third", use("third"))
	at := use("fourth")
	for _, replica := range []string{"EXTAUTHZ", "EXTAUTHZ_2"} {
		if err := syscall.Kill(s.pid(t, replica), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	s.isUsed(t, ns, "fourth", at) // by nobody but those that end
}

// useAtAll calls until each of n replicas has let a call in. policy is the only one's
// that is called.
func (s *stack) useAtAll(t *testing.T, n int, policy string, c call) {
	t.Helper()
	allowed := func(replica int) float64 {
		return s.metricOf(t, replica, `keygate_decisions_total{detail="",policy="`+policy+`",reason="allowed"}`)
	}
	var before []float64
	for i := range n {
		before = append(before, allowed(i))
	}
	eventually(t, func() string {
		if a := s.do(t, c); a.status != http.StatusOK {
			return fmt.Sprintf("got %s", a)
		}
		for i := range n {
			if allowed(i) == before[i] {
				return fmt.Sprintf("replica %d was not asked", i+1)
			}
		}
		return ""
	})
}

// TestDeniedAfterDeath: who calls with a revoked key is in the audit log.
func TestDeniedAfterDeath(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	token := s.key(t, ns, "leaked", "policyRef: {name: plain}")
	id := s.do(t, call{host: host, path: "/any", token: token}).echo(t).first("x-apikey-id")
	s.patch(t, ns, "leaked", `{"spec":{"state":"Revoked"}}`)
	at := call{host: host, path: "/any", token: token}
	s.becomes(t, at, http.StatusUnauthorized)
	for range 5 {
		s.do(t, at)
	}
	type line struct {
		Msg, Event, Namespace, Name, KeyID, Policy, Address, Note string
		Count                                                     int64
	}
	var last line
	eventually(t, func() string {
		log, err := os.ReadFile(filepath.Join(s.dir, "log", "extauthz.log"))
		if err != nil {
			return err.Error()
		}
		for text := range strings.Lines(string(log)) {
			var l line
			if json.Unmarshal([]byte(text), &l) == nil && l.Msg == "audit" && l.Namespace == ns {
				last = l
				return ""
			}
		}
		return "no line yet"
	})
	want := line{Msg: "audit", Event: "denied", Namespace: ns, Name: "leaked", KeyID: id, Policy: ns + "/plain", Address: "127.0.0.1", Note: "revoked", Count: last.Count}
	if last != want || last.Count < 1 || last.Count > 6 {
		t.Errorf("got %+v", last)
	}
}
