package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// makeCluster makes the cluster unless it is there.
func (p *place) makeCluster(ctx context.Context) error {
	if p.given {
		at, err := p.output(ctx, p.kubectl, "--kubeconfig", p.kubeconfig, "config", "current-context")
		if err != nil {
			return err
		}
		name, kinds := strings.CutPrefix(at, "kind-")
		if p.name = ""; kinds {
			p.name = name
		}
		say("using the cluster %s of %s", at, p.kubeconfig)
		return nil
	}
	there, err := p.output(ctx, p.kind, "get", "clusters")
	if err != nil {
		return err
	}
	if slices.Contains(strings.Fields(there), p.name) {
		say("the cluster %s is there", p.name)
		return p.run(ctx, "", p.kind, "export", "kubeconfig", "--name", p.name, "--kubeconfig", p.kubeconfig)
	}
	args := []string{"create", "cluster", "--name", p.name, "--kubeconfig", p.kubeconfig, "--wait", "180s",
		"--config", filepath.Join(p.root, "kind-config.yaml")}
	if image := os.Getenv("KIND_IMAGE"); image != "" {
		args = append(args, "--image", image)
	}
	if err := p.run(ctx, "", p.kind, args...); err != nil {
		return err
	}
	// Before there is DNS, everything starts a little slower.
	return p.kubectlRun(ctx, "", "rollout", "status", "-n", "kube-system", "deployment/coredns", "--timeout=180s")
}

// node is the container that is the node of kind's cluster, "" for another's.
func (p *place) node() string {
	if p.name == "" {
		return ""
	}
	return p.name + "-control-plane"
}

// down undoes up.
func (p *place) down(ctx context.Context) error {
	if !p.given {
		return errors.Join(p.run(ctx, "", p.kind, "delete", "cluster", "--name", p.name), os.RemoveAll(p.dir))
	}
	// Keys first, while the controller runs: it holds their finalizer.
	return errors.Join(
		p.kubectlRun(ctx, "", "delete", "apikeys,apikeypolicies", "-n", platform, "--all", "--timeout=120s"),
		p.run(ctx, "", p.helm, "uninstall", release, "--kubeconfig", p.kubeconfig, "--namespace", system, "--wait"),
		p.kubectlRun(ctx, "", append([]string{"delete", "namespace", "--timeout=180s", "--ignore-not-found", "keygate-keys"}, namespaces...)...),
		os.RemoveAll(p.dir))
}

// apply applies manifests.
func (p *place) apply(ctx context.Context, text string) error {
	return p.kubectlRun(ctx, text, "apply", "-f", "-")
}

// kubectlRun runs kubectl on the cluster.
func (p *place) kubectlRun(ctx context.Context, stdin string, args ...string) error {
	return p.run(ctx, stdin, p.kubectl, append([]string{"--kubeconfig", p.kubeconfig}, args...)...)
}

// run runs a program, which tells the person at the terminal what it does.
func (p *place) run(ctx context.Context, stdin, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = p.root, strings.NewReader(stdin), os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(program), args[0], err)
	}
	return nil
}

// output is what a program prints.
func (p *place) output(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stderr = p.root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", filepath.Base(program), args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// say tells the person at the terminal what happens.
func say(format string, args ...any) { fmt.Printf("==> "+format+"\n", args...) }
