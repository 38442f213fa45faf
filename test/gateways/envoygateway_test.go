//go:build gateways

package gateways

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"keygate.dev/keygate/hack/testbin"
	"keygate.dev/keygate/test/conformance"
	"keygate.dev/keygate/test/rig"
)

// hostPort is where Envoy listens, for the Gateway's port 443: that needs root.
const hostPort = 8443

// envoyVersion is the directory in which Envoy Gateway looks for the Envoy it is given.
const envoyVersion = "1.40.0"

// standalone is the configuration of an Envoy Gateway that reads files instead of an API
// server, and runs Envoy on this machine instead of in a pod.
const standalone = `apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyGateway
gateway: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
extensionApis: {enableBackend: true}
provider:
  type: Custom
  custom:
    resource: {type: File, file: {paths: [DIR/resources]}}
    infrastructure: {type: Host, host: {configHome: DIR, dataHome: DIR/data, stateHome: DIR/state, runtimeDir: DIR/run}}
`

// surroundings are what a cluster has and files do not: the GatewayClass, the Gateway's
// Secret, and the addresses behind Services; and a route that somebody adds later.
const surroundings = `
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: eg}
spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
---
apiVersion: v1
kind: Secret
metadata: {name: stepsies-tls, namespace: platform}
type: kubernetes.io/tls
data: {tls.crt: CERTIFICATE, tls.key: KEY}
---
apiVersion: v1
kind: Secret
metadata: {name: keygate-client-tls, namespace: platform}
type: kubernetes.io/tls
data: {ca.crt: AUTHORITY, tls.crt: CLIENT, tls.key: CLIENTS_OWN}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: stepsies, namespace: platform}
spec: {endpoints: [{ip: UPSTREAM}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: keygate-extauthz, namespace: platform}
spec: {endpoints: [{ip: EXTAUTHZ}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: added-later, namespace: platform}
spec:
  parentRefs: [{name: api}]
  hostnames: [later.example.com]
  rules: [{backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: stepsies}]}]
`

// TestEnvoyGateway is docs/envoy-gateway.md: the Stepsies table through Envoy Gateway's
// own translation of config/gateways/envoy-gateway.yaml, and what the settings are for.
func TestEnvoyGateway(t *testing.T) {
	keys := tokens(t)
	ca, dir := rig.NewAuthority(t), t.TempDir()
	p := &plain{extauthz: stack.StartExtauthz(t, rig.ServerFlags(ca.Issue(t, extauthzName))...)}
	p.Envoy = &rig.Envoy{Process: startEnvoyGateway(t, dir, resources(t, ca.Issue(t, "envoy"), p.extauthz.Address))}
	var err error
	if p.way, err = rig.NewWay("", fmt.Sprintf("https://127.0.0.1:%d", hostPort), stack.Vars["GATEWAY_CA"]); err != nil {
		t.Fatal(err)
	}
	conformance.Run(t, p.way, conformance.Stepsies, keys)
	t.Run("the policy is the one that the route names", func(t *testing.T) { p.namesThePolicy(t, keys["read"]) })
	t.Run("a route without a policy of its own", p.addedLater)
	t.Run("paths", func(t *testing.T) { p.paths(t, keys["read"]) })
	t.Run("headers that pass for Keygate's", func(t *testing.T) { p.spoofed(t, keys["read"]) })
	t.Run("the client's address", func(t *testing.T) { p.clientAddress(t, keys["read"]) })
	t.Run("the access log has no query", p.accessLog)
	t.Run("no extauthz", func(t *testing.T) { p.outage(t, keys["read"]) })
}

// addedLater: a route that nobody thought of is judged, too, and no policy claims its
// host.
func (p *plain) addedLater(t *testing.T) {
	a, err := p.way.Do(rig.Call{Host: "later.example.com", Path: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != http.StatusForbidden || !strings.Contains(string(a.Body), `"no_policy"`) {
		t.Errorf("got %s", a)
	}
}

// resources is the manifest on this machine: Services have no endpoints here, so each is
// a Backend of the same name; extauthz's is in the policies' own namespace, because Envoy
// Gateway (1.9.1) heeds no ReferenceGrant for policies that it reads from files.
// clients is the directory with Envoy's certificate.
func resources(t *testing.T, clients, extauthz string) string {
	t.Helper()
	pki := filepath.Dir(stack.Vars["GATEWAY_CA"])
	encoded := func(elements ...string) string {
		data, err := os.ReadFile(filepath.Join(elements...))
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(data)
	}
	ip := func(address string) string {
		return strings.TrimSuffix(strings.TrimPrefix(strings.ReplaceAll(socketAddress(t, address), "port_value", "port"), "{socket_address: "), "}")
	}
	backend := "{group: gateway.envoyproxy.io, kind: Backend, "
	return rig.Edit(t, rig.Manifest(t, "envoy-gateway.yaml"),
		[2]string{"{name: stepsies, port: 8080}", backend + "name: stepsies}"},
		[2]string{"{name: keygate-extauthz, namespace: keygate-system, port: 9001}", backend + "name: keygate-extauthz}"},
		[2]string{`{group: "", kind: Service, name: keygate-extauthz}`, backend + "name: keygate-extauthz}"},
		[2]string{"kind: BackendTLSPolicy\nmetadata:\n  name: keygate-extauthz\n  namespace: keygate-system", "kind: BackendTLSPolicy\nmetadata:\n  name: keygate-extauthz\n  namespace: platform"},
		[2]string{"port: 443", fmt.Sprint("port: ", hostPort)},
		[2]string{"kind: EnvoyProxy\nmetadata:\n  name: api\n  namespace: platform\nspec:\n",
			"kind: EnvoyProxy\nmetadata:\n  name: api\n  namespace: platform\nspec:\n  provider: {type: Host, host: {envoyVersion: " + envoyVersion + "}}\n"},
		// A machine that runs all tests at once may be slow.
		[2]string{"    timeout: 1s\n    # No", "    timeout: 20s\n    # No"}, [2]string{"connectTimeout: 250ms", "connectTimeout: 10s"},
		[2]string{"maxInterval: 400ms", "maxInterval: 20s"},
	) + rig.Edit(t, surroundings,
		[2]string{"CERTIFICATE", encoded(pki, "gateway.pem")}, [2]string{"KEY", encoded(pki, "gateway-key.pem")},
		[2]string{"AUTHORITY", encoded(clients, "ca.crt")}, [2]string{"CLIENTS_OWN", encoded(clients, "tls.key")}, [2]string{"CLIENT", encoded(clients, "tls.crt")},
		[2]string{"UPSTREAM", ip(stack.Vars["UPSTREAM"])}, [2]string{"EXTAUTHZ", ip(extauthz)})
}

// startEnvoyGateway runs Envoy Gateway, which runs Envoy.
func startEnvoyGateway(t *testing.T, dir, resources string) *rig.Process {
	t.Helper()
	program, err := testbin.EnvoyGateway(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	envoy, err := testbin.Envoy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "data", "envoy-versions", envoyVersion, "bin")
	for _, d := range []string{bin, filepath.Join(dir, "resources")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(envoy, filepath.Join(bin, "envoy")); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"config.yaml":              strings.ReplaceAll(standalone, "DIR", dir),
		"resources/resources.yaml": resources,
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), program, "certgen", "--local", "--config-home", dir).CombinedOutput(); err != nil {
		t.Fatalf("make Envoy Gateway's certificates: %v: %s", err, out)
	}
	return rig.Start(t, program, "server", "--config-path", filepath.Join(dir, "config.yaml"))
}
