package testbin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// tool is a program that is built from a module of its own under hack.
type tool struct {
	name string
	// module is its directory below hack; its go.mod pins the version.
	module string
	// path is the package of its main function.
	path string
}

// Helm returns the path of Helm, built from the module hack/helm, once.
func Helm(ctx context.Context) (string, error) {
	return build(ctx, tool{name: "helm", module: "helm", path: "helm.sh/helm/v4/cmd/helm"})
}

// Kubeconform returns the path of kubeconform, built from the module hack/tools, once.
func Kubeconform(ctx context.Context) (string, error) {
	return build(ctx, tool{name: "kubeconform", module: "tools", path: "github.com/yannh/kubeconform/cmd/kubeconform"})
}

// Kind returns the path of kind: that on the PATH, which may belong to the node images
// of this machine, else the one of the module hack/kind/tool, built once.
func Kind(ctx context.Context) (string, error) {
	if path, err := exec.LookPath("kind"); err == nil {
		return filepath.Abs(path)
	}
	return build(ctx, tool{name: "kind", module: "kind/tool", path: "sigs.k8s.io/kind"})
}

// build returns the path of a tool in the cache.
func build(ctx context.Context, t tool) (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "hack", t.module)
	gomod, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("read the pinned version of %s: %w", t.name, err)
	}
	sum := sha256.Sum256(append(gomod, recipe...))
	dir, err := prepareOnce(ctx, t.name+"-"+hex.EncodeToString(sum[:6]), func(ctx context.Context, dir string) error {
		if _, err := exec.LookPath("go"); err != nil {
			return fmt.Errorf("build %s: %w", t.name, errors.New("there is no go command on the PATH"))
		}
		fmt.Fprintf(log, "keygate: building %s from its Go module, once (up to 5 minutes on two cores)\n", t.name)
		if _, err := runGo(ctx, module, "build", "-mod=readonly", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(dir, t.name), t.path); err != nil {
			return fmt.Errorf("build %s: %w", t.name, err)
		}
		return nil
	})
	return filepath.Join(dir, t.name), err
}
