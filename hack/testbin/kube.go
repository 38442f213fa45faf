package testbin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// kubePrograms maps each program to the package it is built from; the versions are
// those of hack/kubernetes/go.mod.
var kubePrograms = map[string]string{
	"etcd":                    "go.etcd.io/etcd/server/v3",
	"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
	"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
	"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
}

// recipe goes into the cache key: raise it when the build below changes.
const recipe = "1"

// versionPackage holds the variables that Kubernetes programs report as their version.
const versionPackage = "k8s.io/component-base/version"

// KubeAssets returns a directory that holds kube-apiserver, etcd, kubectl and
// kube-controller-manager: $KUBEBUILDER_ASSETS when it has all four, else a cached
// one. The first call on a machine builds them from the module hack/kubernetes,
// which takes minutes; it says so on standard error. Errors name what is lacking.
func KubeAssets(ctx context.Context) (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		missing := missingPrograms(dir)
		if len(missing) == 0 {
			return filepath.Abs(dir)
		}
		fmt.Fprintf(log, "keygate: KUBEBUILDER_ASSETS lacks %s: using programs built from their Go modules\n", strings.Join(missing, ", "))
	}
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "hack", "kubernetes")
	gomod, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("read the pinned Kubernetes versions: %w", err)
	}
	sum := sha256.Sum256(append(gomod, recipe...))
	return prepareOnce(ctx, "kubernetes-"+hex.EncodeToString(sum[:6]), func(ctx context.Context, dir string) error {
		return buildKube(ctx, module, dir)
	})
}

func missingPrograms(dir string) []string {
	var missing []string
	for _, name := range []string{"kube-apiserver", "etcd", "kubectl", "kube-controller-manager"} {
		if !isProgram(filepath.Join(dir, name)) {
			missing = append(missing, name)
		}
	}
	return missing
}

func buildKube(ctx context.Context, module, dir string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("build Kubernetes: there is no go command on the PATH (or set KUBEBUILDER_ASSETS)")
	}
	version, err := runGo(ctx, module, "list", "-mod=readonly", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	if err != nil {
		return fmt.Errorf("read the pinned Kubernetes version: %w", err)
	}
	fmt.Fprintf(log, "keygate: building etcd, kubectl, kube-apiserver and kube-controller-manager %s from their Go modules, once (5 to 20 minutes on two cores)\n", version)
	start := time.Now()
	for _, name := range []string{"etcd", "kubectl", "kube-apiserver", "kube-controller-manager"} {
		fmt.Fprintf(log, "keygate: building %s\n", name)
		if _, err := runGo(ctx, module, "build", "-mod=readonly", "-buildvcs=false", "-ldflags", linkerFlags(version),
			"-o", filepath.Join(dir, name), kubePrograms[name]); err != nil {
			return fmt.Errorf("build %s: %w", name, err)
		}
	}
	fmt.Fprintf(log, "keygate: built in %s\n", time.Since(start).Round(time.Second))
	return nil
}

// linkerFlags makes the programs report version ("v1.36.3"); without it they call
// themselves v0.0.0 and refuse some feature gates.
func linkerFlags(version string) string {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	flags := []string{"-s", "-w", "-X", versionPackage + ".gitVersion=" + version, "-X", versionPackage + ".gitTreeState=clean"}
	if len(parts) == 3 {
		flags = append(flags, "-X", versionPackage+".gitMajor="+parts[0], "-X", versionPackage+".gitMinor="+parts[1])
	}
	return strings.Join(flags, " ")
}

// runGo runs the go command in the directory module and returns its trimmed output;
// the error ends with the last line that go printed.
func runGo(ctx context.Context, module string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = module
	// GOFLAGS of the caller (-race, -tags) are about Keygate, not about Kubernetes.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, lastLine(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
