//go:build kind

package kind

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/test/conformance"
	"keygate.dev/keygate/test/rig"
)

// edge is the namespace of config/gateways/sidecar.yaml.
const edge = "edge"

// TestSidecarPod is docs/sidecar.md in pods: Envoy starts behind extauthz, and asks it
// over the socket that they share.
func TestSidecarPod(t *testing.T) {
	w := open(t)
	w.upstream(t, false)
	extauthz, err := w.Kube.AppsV1().Deployments("keygate-system").Get(t.Context(), "keygate-extauthz", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	image := extauthz.Spec.Template.Spec.Containers[0].Image
	const envoy = "envoyproxy/envoy:distroless-v1.40.0"
	w.apply(t, rig.Edit(t, rig.Manifest(t, "sidecar.yaml"),
		[2]string{"keygate.dev/keygate:0.1.0", image}, [2]string{envoy, cmp.Or(os.Getenv("ENVOY_IMAGE"), envoy)}))
	w.put(t, edge)
	config := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(config, []byte(bootstrap(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run(t, "", "create", "configmap", "envoy", "-n", edge, "--from-file", config)
	w.run(t, "", "rollout", "status", "-n", edge, "deploy/envoy", "--timeout=120s")
	conformance.Run(t, w.way(t, edge, "app=envoy"), conformance.Stepsies, w.tokens)
}

// bootstrap is envoy.yaml with the cluster of sidecar-cluster.yaml.
func bootstrap(t *testing.T) string {
	t.Helper()
	before, _, found := strings.Cut(rig.Manifest(t, "envoy.yaml"), "  - name: extauthz\n")
	if !found {
		t.Fatal("there is no cluster extauthz to take the place of")
	}
	// A machine that runs a cluster may be slow.
	return rig.Edit(t, before+rig.Manifest(t, "sidecar-cluster.yaml"), [2]string{" timeout: 0.2s", " timeout: 10s"})
}
