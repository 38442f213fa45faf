//go:build kind

package kind

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/test/conformance"
	"keygate.dev/keygate/test/rig"
)

// envoyGatewayNamespace is where Envoy Gateway runs its Envoys.
const envoyGatewayNamespace = "envoy-gateway-system"

// TestEnvoyGatewayInCluster is docs/envoy-gateway.md on a cluster: with Services,
// EndpointSlices and a ReferenceGrant that counts.
func TestEnvoyGatewayInCluster(t *testing.T) {
	w := open(t)
	w.upstream(t, false)
	// A machine that runs a cluster may be slow.
	text := rig.Edit(t, rig.Manifest(t, "envoy-gateway.yaml"), [2]string{"    timeout: 1s\n    # No", "    timeout: 10s\n    # No"},
		[2]string{"connectTimeout: 250ms", "connectTimeout: 5s"},
		[2]string{"kind: EnvoyProxy\nmetadata:\n  name: api\n  namespace: platform\nspec:\n",
			"kind: EnvoyProxy\nmetadata:\n  name: api\n  namespace: platform\nspec:\n  provider: " + w.provider(t) + "\n"})
	w.apply(t, text)
	way := w.way(t, envoyGatewayNamespace, "gateway.envoyproxy.io/owning-gateway-name=api,gateway.envoyproxy.io/owning-gateway-namespace="+namespace, w.ca)
	conformance.Run(t, way, conformance.Stepsies, w.tokens)
	t.Run("headers that pass for Keygate's", func(t *testing.T) { spoofed(t, way, w.tokens["read"]) })
}

// provider is what the class says of how Envoy runs in this cluster, in one line: the
// Gateway's own EnvoyProxy takes the place of the class's.
func (w *world) provider(t *testing.T) string {
	t.Helper()
	class := w.object(t, "gatewayclass", "eg", "")
	ref, found, err := unstructured.NestedStringMap(class, "spec", "parametersRef")
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		return "{type: Kubernetes}"
	}
	proxy := w.object(t, "envoyproxy.gateway.envoyproxy.io", ref["name"], ref["namespace"])
	provider, _, err := unstructured.NestedMap(proxy, "spec", "provider")
	if err != nil {
		t.Fatal(err)
	}
	// Its Service may have a port of the node, which only one can have.
	unstructured.RemoveNestedField(provider, "kubernetes", "envoyService")
	line, err := json.Marshal(provider)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

// object reads an object of any kind.
func (w *world) object(t *testing.T, kind, name, namespace string) map[string]any {
	t.Helper()
	var object map[string]any
	if err := yaml.Unmarshal([]byte(w.run(t, "", "get", kind, name, "-n", namespace, "-o", "yaml")), &object); err != nil {
		t.Fatal(err)
	}
	return object
}
