package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/test/chart"
	"keygate.dev/keygate/test/rig"
	"keygate.dev/keygate/test/rights"
)

// unseen are rights that this stack cannot need, by why they are given.
var unseen = map[rights.Grant]string{
	{Account: "keygate-system:keygate-controller", Group: "keygate.dev", Resource: "apikeys/finalizers", Verb: "update"}: "the admission plugin OwnerReferencesPermissionEnforcement asks for it, " +
		"which is off by default, and it is no call of its own",
}

// auditLog is the API server's, of a stack.
func (s *stack) auditLog() string { return filepath.Join(s.dir, "log", "audit.log") }

// trespasses are the calls of the shipped accounts that their roles do not allow. An
// API server that starts refuses for a moment what it allows once it has read the roles:
// what was allowed at any other time is no trespass.
func (s *stack) trespasses() string {
	calls, err := rights.Read(s.auditLog())
	if err != nil {
		return err.Error()
	}
	var text strings.Builder
	for _, call := range calls {
		allowed := call
		allowed.Refused = false
		if strings.HasPrefix(call.Account, "keygate-system:") && call.Refused && !slices.Contains(calls, allowed) {
			fmt.Fprintln(&text, "RBAC refused", call)
		}
	}
	return text.String()
}

// TestRights: whatever Keygate is asked to do, its accounts use no right that they do
// not have, and have none that they do not use.
func TestRights(t *testing.T) {
	s := start(t, "EXTAUTHZ_FLAGS=--relist-interval=1s --cache-size=1 --drain-delay=0s")
	ns := s.namespace(t, nil)
	s.live(t, ns)
	s.recover(t)
	if out, err := s.selftest(t, ns, s.vars["EXTAUTHZ"]); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.certify(t, ns)

	objects := append(chart.Configured(t, "keygate-system", keysNamespace), chart.Render(t, "--namespace="+ns, "--show-only=templates/selftest.yaml")...)
	objects = append(objects, chart.Render(t, "--namespace="+ns, "--show-only=templates/certificates.yaml")...)
	grants, err := rights.Grants(objects)
	if err != nil {
		t.Fatal(err)
	}
	var calls []rights.Call
	eventually(t, func() string { // what the controller still has to do, it does by itself
		if calls, err = rights.Read(s.auditLog()); err != nil {
			t.Fatal(err)
		}
		var needless strings.Builder
		for _, grant := range rights.Unused(grants, calls) {
			if unseen[grant] == "" {
				fmt.Fprintln(&needless, "nobody needs", grant)
			}
		}
		return needless.String()
	})
	for _, call := range rights.Exceeding(grants, calls) {
		t.Errorf("beyond its rights: %s", call)
	}
}

// live takes keys through their lives: minted, used, rotated, collected, revoked,
// deleted; and their policy with them.
func (s *stack) live(t *testing.T, ns string) {
	t.Helper()
	host := newHost()
	s.policy(t, ns, "plain", plainPolicy(host))
	since := time.Now()
	kept, collected := s.key(t, ns, "kept", "policyRef: {name: plain}"), s.key(t, ns, "collected", "policyRef: {name: plain}")
	for _, token := range []string{kept, collected, kept} { // memory has room for one of them
		s.becomes(t, call{host: host, path: "/any", token: token}, http.StatusOK)
	}
	s.isUsed(t, ns, "kept", since)
	s.rotates(t, ns, "kept", 2, `,"overlap":"0s"`)
	s.patch(t, ns, "collected", `{"metadata":{"annotations":{"keygate.dev/collected":"`+s.issued(t, ns, "collected")[0].ID+`"}}}`)
	s.wait(t, s.keys(ns), "collected", "Delivered", "True", "HandedOver")
	for range 2 {
		s.patch(t, ns, "kept", `{"spec":{"state":"Suspended"}}`)
		s.wait(t, s.keys(ns), "kept", "Ready", "False", "Suspended")
		s.patch(t, ns, "kept", `{"spec":{"state":"Active"}}`)
		s.wait(t, s.keys(ns), "kept", "Ready", "True", "Active")
	}
	s.patch(t, ns, "kept", `{"spec":{"state":"Revoked"}}`)
	s.wait(t, s.keys(ns), "kept", "Ready", "False", "Revoked")
	s.kubectl(t, "delete", "apikey", "--namespace="+ns, "kept", "collected")
	s.kubectl(t, "delete", "apikeypolicy", "--namespace="+ns, "plain")
}

// recover does to Keygate what it has to recover from.
func (s *stack) recover(t *testing.T) {
	t.Helper()
	host, ns := newHost(), s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	token := s.key(t, ns, "kept", "policyRef: {name: plain}")
	s.key(t, ns, "orphan", "policyRef: {name: plain}")
	at := call{host: host, path: "/any", token: token}
	secrets := s.kube.CoreV1().Secrets(keysNamespace)
	forged := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "key-" + strings.Repeat("0", 64)}, Type: "keygate.dev/hashed-key", Data: map[string][]byte{"record": []byte("{}")},
	}
	if _, err := secrets.Create(t.Context(), forged, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		record := s.record(t, ns, "kept")
		if err := secrets.Delete(t.Context(), record.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		s.waitUndone(t, record.Name, nil)
		return s.countedEvent(t)
	})
	s.becomes(t, at, http.StatusOK)
	for _, component := range []string{"CONTROLLER", "EXTAUTHZ"} {
		if err := syscall.Kill(s.pid(t, component), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	// A record that loses its APIKey while nobody looks.
	s.patch(t, ns, "orphan", `{"metadata":{"finalizers":null}}`)
	s.kubectl(t, "delete", "apikey", "--namespace="+ns, "orphan")
	// An API server that does not stream lists.
	t.Setenv("KUBE_FEATURE_WatchListClient", "false")
	s.restart(t, "controller")
	s.restart(t, "extauthz")
	s.patch(t, ns, "kept", `{"spec":{"state":"Suspended"}}`)
	s.becomes(t, at, http.StatusUnauthorized)
}

// countedEvent says if no Event was a count on the one before. One is where both are of
// the same reason and the APIKey has not changed in between.
func (s *stack) countedEvent(t *testing.T) string {
	t.Helper()
	calls, err := rights.Read(s.auditLog())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(calls, func(c rights.Call) bool { return c.Group == "events.k8s.io" && c.Verb == "patch" }) {
		return "each Event was another one"
	}
	return ""
}

// certify makes the chart's certificates as the Job does, and renews them as the Job and
// the CronJob do when a longer life is asked for.
func (s *stack) certify(t *testing.T, ns string) {
	t.Helper()
	const setup, renewal = "keygate-certs-setup", "keygate-certs"
	longer := []string{"--life=8760h", "--ca-life=35040h"} // the authority no longer has two lives of a certificate left
	for _, account := range []string{renewal, setup} {
		s.certs(t, setup, ns)
		s.certs(t, account, ns, longer...)
		s.kubectl(t, "delete", "secret", "--namespace="+ns, "keygate-ca", "keygate-extauthz-tls", "keygate-client-tls")
	}
}

// certs runs cmd/certs with the arguments and rights of the chart.
func (s *stack) certs(t *testing.T, account, ns string, more ...string) {
	t.Helper()
	args := append([]string{"run", "./cmd/certs", "--kubeconfig=" + s.as(t, account, ns, "certificates.yaml")}, chart.CertsArgs(t, account, "--namespace="+ns)...)
	cmd := exec.CommandContext(t.Context(), "go", append(args, more...)...)
	cmd.Dir = rig.Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", account, err, out)
	}
}
