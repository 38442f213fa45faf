package chart

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/hack/testbin"
)

// gateway is config/envoy/gateway.yaml.
func gateway(t *testing.T) Objects {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Root(t), "config", "envoy", "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	objects, err := decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// TestGatewayIsAccepted by a real API server, its pod under the restricted standard.
func TestGatewayIsAccepted(t *testing.T) {
	server := startWithForeignCRDs(t)
	c := newClient(t, server.Config)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "gateway", Labels: restricted}}
	if err := c.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	for _, object := range gateway(t) {
		if err := apply(t, c, object, client.DryRunAll); err != nil {
			t.Errorf("%s: %v", id(object), err)
		}
		for _, pod := range pods(t, object) {
			pod.Namespace = namespace.Name
			if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
				t.Errorf("the pod of %s: %v", id(object), err)
			}
		}
	}
}

// TestGatewayConfiguration: a real Envoy takes it, and it goes by the names that the
// chart gives out.
func TestGatewayConfiguration(t *testing.T) {
	envoy, err := testbin.Envoy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var config corev1.ConfigMap
	gateway(t).into(t, "ConfigMap", "envoy", &config)
	dir := t.TempDir()
	for name, text := range config.Data {
		text = strings.ReplaceAll(text, "/etc/envoy/", dir+"/")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := run(t.Context(), envoy, "--mode", "validate", "--config-path", filepath.Join(dir, "envoy.yaml")); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	args := pods(t, Render(t).Find("Job", "keygate-certs-setup"))[0].Spec.Containers[0].Args
	names := strings.Split(args[slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "--server-names=") })], "=")[1]
	for file, name := range map[string]string{"envoy.yaml": "sni: ", "authority.yaml": "exact: "} {
		_, after, found := strings.Cut(config.Data[file], name)
		after, _, _ = strings.Cut(after, "\n")
		if !found || !slices.Contains(strings.Split(names, ","), strings.TrimRight(after, "}")) {
			t.Errorf("%s names %q, the certificate %s", file, after, names)
		}
	}
}
