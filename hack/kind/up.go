package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// release is the Helm release, and system its namespace.
const (
	release = "keygate"
	system  = "keygate-system"
	// platform is the namespace of the products' policies, and of the APIs behind them.
	platform = "platform"
)

// namespaces are those that certificates and samples need; of ours is what down deletes.
var namespaces = []string{system, "gateway", platform, "edge"}

// up makes what is not there yet, and brings what is there up to date.
func (p *place) up(ctx context.Context) error {
	begin := time.Now()
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{p.makeCluster, p.makeImages, p.install, p.makeGateway, p.makeSidecar} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := p.writeEnv(); err != nil {
		return err
	}
	say("everything is up after %s; now: make test-kind, or . .kind/env", time.Since(begin).Round(time.Second))
	return nil
}

// install installs the chart as docs/install.md does, with the samples' namespace as
// one that may have policies.
func (p *place) install(ctx context.Context) error {
	say("installing the chart")
	var text strings.Builder
	for _, name := range namespaces {
		level := "restricted"
		if name == platform {
			level = "privileged" // Istio's sidecars set up their pod's network
		}
		fmt.Fprintf(&text, "---\n{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {pod-security.kubernetes.io/enforce: %s}}}\n", name, level)
	}
	if err := p.apply(ctx, text.String()); err != nil {
		return err
	}
	repository, tag, found := cutTag(p.images["keygate"])
	if !found {
		return fmt.Errorf("KEYGATE_IMAGE=%s has no tag", p.images["keygate"])
	}
	return p.run(ctx, "", p.helm, "upgrade", "--install", release, filepath.Join(p.root, "charts", "keygate"),
		"--kubeconfig", p.kubeconfig, "--namespace", system, "--wait", "--timeout=5m",
		"--set=image.repository="+repository, "--set-string=image.tag="+tag,
		// Pods that end answer on for a while: in ten rolls there are many, on one small node.
		// With less CPU they would come and go faster than two cores can start them.
		"--set=extauthz.resources.requests.cpu=50m", "--set=extauthz.resources.requests.memory=64Mi",
		`--set-json=policyNamespaces=["keygate-system","platform"]`,
		"--set=tls.clients.gateway=keygate-client-tls", "--set=tls.clients.platform=keygate-client-tls")
}

// cutTag cuts an image's name before its tag, which a registry's port is not.
func cutTag(image string) (repository, tag string, found bool) {
	i := strings.LastIndexByte(image, ':')
	if i < 0 || strings.ContainsRune(image[i:], '/') {
		return image, "", false
	}
	return image[:i], image[i+1:], true
}

// writeEnv writes what test/kind has to know.
func (p *place) writeEnv() error {
	var text strings.Builder
	for _, v := range [][2]string{
		{"KUBECONFIG", p.kubeconfig},
		{"ENVOY_IMAGE", p.images["envoy"]},
		{"UPSTREAM_IMAGE", p.images["upstream"]},
		{"KIND_NODE", p.node()},
		{"GATEWAY", "http://127.0.0.1:30880"},
		{"GATEWAY_TLS", "https://127.0.0.1:30843"},
	} {
		fmt.Fprintf(&text, "export %s='%s'\n", v[0], v[1])
	}
	return os.WriteFile(filepath.Join(p.dir, "env"), []byte(text.String()), 0o600)
}
