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

// trespasses are the calls of the shipped accounts that their roles do not allow.
func (s *stack) trespasses() string {
	calls, err := rights.Read(s.auditLog())
	if err != nil {
		return err.Error()
	}
	var text strings.Builder
	for _, call := range calls {
		if strings.HasPrefix(call.Account, "keygate-system:") && call.Refused {
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
	calls, err := rights.Read(s.auditLog())
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range rights.Exceeding(grants, calls) {
		t.Errorf("beyond its rights: %s", call)
	}
	for _, grant := range rights.Unused(grants, calls) {
		if unseen[grant] == "" {
			t.Errorf("nobody needs %s", grant)
		}
	}
}

// live takes keys through their lives: minted, used, rotated, collected, revoked,
// deleted; and their policy with them.
func (s *stack) live(t *testing.T, ns string) {
	t.Helper()
	host := newHost()
	s.policy(t, ns, "plain", plainPolicy(host))
	for _, name := range []string{"kept", "collected"} {
		token := s.key(t, ns, name, "policyRef: {name: plain}")
		for range 2 {
			s.do(t, call{host: host, path: "/any", token: token}).echo(t)
		}
	}
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
	at := call{host: host, path: "/any", token: token}
	secrets := s.kube.CoreV1().Secrets(keysNamespace)
	forged := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "key-" + strings.Repeat("0", 64)}, Type: "keygate.dev/hashed-key", Data: map[string][]byte{"record": []byte("{}")},
	}
	if _, err := secrets.Create(t.Context(), forged, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := secrets.Delete(t.Context(), s.record(t, ns, "kept").Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.becomes(t, at, http.StatusOK)
	for _, component := range []string{"controller", "extauthz"} {
		if err := syscall.Kill(s.pid(t, strings.ToUpper(component)), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s.restart(t, component)
	}
	s.patch(t, ns, "kept", `{"spec":{"state":"Suspended"}}`)
	s.becomes(t, at, http.StatusUnauthorized)
}

// certify makes the chart's certificates and renews them, as a Job and a CronJob would.
func (s *stack) certify(t *testing.T, ns string) {
	t.Helper()
	for _, account := range []string{"keygate-certs-setup", "keygate-certs"} {
		for _, names := range []string{"a", "b"} {
			args := chart.CertsArgs(t, account, "--namespace="+ns, "--set=tls.extraServerNames={"+account+names+"}")
			cmd := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"run", "./cmd/certs"}, args, []string{"--kubeconfig=" + s.as(t, account, ns, "certificates.yaml")})...)
			cmd.Dir = rig.Root()
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", account, err, out)
			}
		}
	}
}
