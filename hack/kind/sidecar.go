package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// makeSidecar runs the pod of config/gateways/sidecar.yaml, once: a machine that runs a
// cluster may be small, and slow.
func (p *place) makeSidecar(ctx context.Context) error {
	say("starting the pod with the sidecar")
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(p.root, "config", "gateways", name))
		if err != nil {
			return "" // and edit says what is missing
		}
		return string(data)
	}
	text, err := edit(read("sidecar.yaml"), "keygate.dev/keygate:0.1.0", p.images["keygate"],
		"envoyproxy/envoy:distroless-v1.40.0", p.images["envoy"], "  replicas: 2\n", "  replicas: 1\n",
		"{cpu: 100m, memory: 256Mi}", "{cpu: 20m, memory: 64Mi}", "{cpu: 200m, memory: 128Mi}", "{cpu: 50m, memory: 64Mi}")
	if err != nil {
		return err
	}
	before, _, found := strings.Cut(read("envoy.yaml"), "  - name: extauthz\n")
	if !found {
		return fmt.Errorf("envoy.yaml has no cluster extauthz to take the place of")
	}
	bootstrap, err := edit(before+read("sidecar-cluster.yaml"), "                timeout: 1s", "                timeout: 10s")
	if err != nil {
		return err
	}
	indented := "    " + strings.ReplaceAll(strings.TrimSpace(bootstrap), "\n", "\n    ")
	text += "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: envoy, namespace: edge}\ndata:\n  envoy.yaml: |\n" + indented + "\n"
	if err := p.apply(ctx, text); err != nil {
		return err
	}
	if err := p.kubectlRun(ctx, "", "rollout", "restart", "-n", "edge", "deployment/envoy"); err != nil {
		return err
	}
	return p.kubectlRun(ctx, "", "rollout", "status", "-n", "edge", "deployment/envoy", "--timeout=180s")
}
