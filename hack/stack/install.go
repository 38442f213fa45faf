package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// fenceLimit bounds the wait for the admission policies to be enforced, which
// follows their creation by a second or two.
const fenceLimit = 30 * time.Second

// command prepares a command in the tree's root.
func (s *stack) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.root
	return cmd
}

// kubectl runs kubectl as cluster admin and returns its output.
func (s *stack) kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := s.command(ctx, filepath.Join(s.Assets, "kubectl"), append([]string{"--kubeconfig=" + s.path("admin.kubeconfig")}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// install applies the CRDs and the manifests of config/rbac, namespaces first, and
// waits until they are in force.
func (s *stack) install(ctx context.Context) error {
	say("applying CRDs, roles and admission policies")
	for _, args := range [][]string{
		{"apply", "--server-side", "-f", "config/rbac/namespaces.yaml"},
		{"apply", "--server-side", "-f", "config/crd", "-f", "config/rbac"},
		{"wait", "--for=condition=Established", "--timeout=60s", "-f", "config/crd"},
	} {
		if _, err := s.kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return s.waitFenced(ctx)
}

// waitFenced waits until the controller is refused a Secret that it may never
// write: a plain one in a tenant's namespace.
func (s *stack) waitFenced(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fenceLimit)
	defer cancel()
	for {
		_, err := s.kubectl(ctx, "create", "secret", "generic", "is-the-fence-up", "--dry-run=server", "--namespace=default",
			"--as=system:serviceaccount:"+systemNamespace+":"+accounts["controller"])
		if err != nil && strings.Contains(strings.ToLower(err.Error()), "forbidden") {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("the admission policies do not refuse the controller a foreign Secret"), err)
		case <-time.After(probeEvery):
		}
	}
}
