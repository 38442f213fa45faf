//go:build kind

package kind

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/hack/testbin"
	"keygate.dev/keygate/test/conformance"
	"keygate.dev/keygate/test/rig"
)

// variable is what .kind/env says.
func variable(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: make kind-up, and . .kind/env", name)
	}
	return value
}

// authority writes the authority of a Secret's certificate to a file.
func (w *world) authority(t *testing.T, namespace, name string) string {
	t.Helper()
	secret, err := w.Kube.CoreV1().Secrets(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(path, secret.Data["ca.crt"], 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runHelm runs Helm on the release.
func (w *world) runHelm(t *testing.T, args ...string) string {
	t.Helper()
	helm, err := testbin.Helm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rig.Output(t, helm, "", append(args, "--namespace", system)...)
}

// TestHelmTest is `helm test`: the chart's own pod makes a key, uses it and revokes it.
func TestHelmTest(t *testing.T) {
	w := open(t)
	if said := w.runHelm(t, "test", "keygate", "--logs"); !strings.Contains(said, "with the key, revoked: 401") {
		t.Errorf("helm test said:\n%s", said)
	}
}

// TestGateway sends every product's table through the Envoy of config/envoy/gateway.yaml.
func TestGateway(t *testing.T) {
	w := open(t)
	way, err := rig.NewWay(variable(t, "GATEWAY"), variable(t, "GATEWAY_TLS"), w.authority(t, "gateway", "gateway-tls"))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("Stepsies", func(t *testing.T) { conformance.Run(t, way, conformance.Stepsies, w.tokens) })
	for name, product := range map[string]conformance.Product{
		"Stairoids": conformance.Stairoids, "StairoidsSimple": conformance.StairoidsSimple,
		"Signalstack": conformance.SignalStack, "Workspace": conformance.Workspace,
	} {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, way, product, conformance.Issue(t, w.Cluster, product))
		})
	}
}
