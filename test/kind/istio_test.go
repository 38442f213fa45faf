//go:build kind

package kind

import (
	"strings"
	"testing"

	"keygate.dev/keygate/test/conformance"
	"keygate.dev/keygate/test/rig"
)

// istioGateway selects the pods and the Service that Istio makes for the Gateway.
const istioGateway = "gateway.networking.k8s.io/gateway-name=api"

// provided fails where the mesh knows no provider of the name that the manifests have.
func provided(t *testing.T, w *world) {
	t.Helper()
	mesh := w.run(t, "", "get", "configmap", "-n", "istio-system", "istio", "-o", "jsonpath={.data.mesh}")
	if !strings.Contains(mesh, "name: keygate") {
		t.Fatal("Istio has no extension provider keygate: install istiod with the values of config/gateways/istio-provider.yaml")
	}
}

// TestIstioGateway is docs/istio.md, "A gateway".
func TestIstioGateway(t *testing.T) {
	w := open(t)
	provided(t, w)
	w.upstream(t, false)
	w.apply(t, rig.Manifest(t, "istio-gateway.yaml"))
	way := w.way(t, namespace, istioGateway, w.ca)
	conformance.Run(t, way, conformance.Stepsies, w.tokens)
	t.Run("headers that pass for Keygate's", func(t *testing.T) { spoofed(t, way, w.tokens["read"]) })
}

// TestIstioSidecar is docs/istio.md, "A workload in the mesh": the gateway asks nobody,
// the workload's sidecar does.
func TestIstioSidecar(t *testing.T) {
	w := open(t)
	provided(t, w)
	w.upstream(t, true)
	w.apply(t, without(t, rig.Manifest(t, "istio-gateway.yaml"), "kind: AuthorizationPolicy", "kind: DestinationRule"))
	w.apply(t, rig.Manifest(t, "istio-sidecar.yaml"))
	way := w.way(t, namespace, istioGateway, w.ca)
	conformance.Run(t, way, conformance.Stepsies, w.tokens)
	t.Run("headers that pass for Keygate's", func(t *testing.T) { spoofed(t, way, w.tokens["read"]) })
}

// TestIstioEnvoyFilter is docs/istio.md, "The filter itself".
func TestIstioEnvoyFilter(t *testing.T) {
	w := open(t)
	w.upstream(t, false)
	w.apply(t, without(t, rig.Manifest(t, "istio-gateway.yaml"), "kind: AuthorizationPolicy"))
	// A machine that runs a cluster may be slow.
	w.apply(t, rig.Edit(t, rig.Manifest(t, "istio-envoyfilter.yaml"), [2]string{"            timeout: 1s", "            timeout: 10s"}))
	way := w.way(t, namespace, istioGateway, w.ca)
	conformance.Run(t, way, conformance.Stepsies, w.tokens)
	t.Run("headers that pass for Keygate's", func(t *testing.T) { spoofed(t, way, w.tokens["read"]) })
	t.Run("the policy is the one that the filter names", func(t *testing.T) {
		a, err := way.Do(rig.Call{Host: conformance.Stepsies.Host, Path: "/v1/stepsies", Token: w.tokens["read"]})
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Echo(t).First("x-apikey-policy"); got != "platform/stepsies" {
			t.Errorf("the policy is %q", got)
		}
	})
	t.Run("an encoded slash is refused", func(t *testing.T) {
		a, err := way.Do(rig.Call{Host: conformance.Stepsies.Host, Path: "/v1%2Fstepsies", Token: w.tokens["read"]})
		if err != nil {
			t.Fatal(err)
		}
		if a.Status != 400 || len(a.Header["Www-Authenticate"]) != 0 || strings.Contains(string(a.Body), "forbidden") {
			t.Errorf("got %s", a)
		}
	})
}

// without is a manifest without the documents that hold one of some texts.
func without(t *testing.T, manifest string, texts ...string) string {
	t.Helper()
	var kept []string
	left := map[string]bool{}
	for _, doc := range strings.Split(manifest, "\n---\n") {
		keep := true
		for _, text := range texts {
			if strings.Contains(doc, text) {
				keep, left[text] = false, true
			}
		}
		if keep {
			kept = append(kept, doc)
		}
	}
	if len(left) != len(texts) {
		t.Fatalf("of %q the manifest has only %v", texts, left)
	}
	return strings.Join(kept, "\n---\n")
}

// spoofed: no header reaches the upstream that some server may take for one of
// Keygate's.
func spoofed(t *testing.T, way *rig.Way, token string) {
	t.Helper()
	header := map[string][]string{}
	for _, name := range []string{"x-apikey-id", "x-apikey.id", "x.apikey.id", "x-apikey-scopes", "x.apikey-name", "x-apikey-other", "x-http.method-override", "x-original.url"} {
		header[name] = []string{"spoofed"}
	}
	a, err := way.Do(rig.Call{Host: conformance.Stepsies.Host, Path: "/v1/stepsies", Token: token, Header: header})
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range a.Echo(t).Headers {
		if strings.Contains(strings.Join(values, ","), "spoofed") {
			t.Errorf("the upstream got %s: %v", name, values)
		}
	}
}
