package testbin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// tool is what is built from a module of its own under hack.
type tool struct {
	name string
	// module is its directory below hack; its go.mod pins the version.
	module string
	// programs: name → the package of its main function.
	programs map[string]string
	// tags of the build, separated by commas.
	tags string
}

// Helm returns the path of Helm, built from the module hack/helm, once.
func Helm(ctx context.Context) (string, error) {
	return program(ctx, "helm", "helm", "helm.sh/helm/v4/cmd/helm")
}

// Kubeconform returns the path of kubeconform, built from the module hack/tools, once.
func Kubeconform(ctx context.Context) (string, error) {
	return program(ctx, "kubeconform", "tools", "github.com/yannh/kubeconform/cmd/kubeconform")
}

// Kind returns the path of kind: that on the PATH, which may belong to the node images
// of this machine, else the one of the module hack/kind/tool, built once.
func Kind(ctx context.Context) (string, error) {
	if path, err := exec.LookPath("kind"); err == nil {
		return filepath.Abs(path)
	}
	return program(ctx, "kind", "kind/tool", "sigs.k8s.io/kind")
}

// EnvoyGateway returns the path of envoy-gateway: $ENVOY_GATEWAY, else one that is built
// from the module hack/envoygateway, once.
func EnvoyGateway(ctx context.Context) (string, error) {
	if path := os.Getenv("ENVOY_GATEWAY"); path != "" {
		if !isProgram(path) {
			return "", fmt.Errorf("ENVOY_GATEWAY=%s is not a program", path)
		}
		return filepath.Abs(path)
	}
	return program(ctx, "envoy-gateway", "envoygateway", "github.com/envoyproxy/gateway/cmd/envoy-gateway")
}

// Prometheus returns a directory that holds prometheus and promtool, built from the
// module hack/prometheus, once. Of service discovery it has only files and fixed
// targets: the rest is most of it.
func Prometheus(ctx context.Context) (string, error) {
	return build(ctx, tool{name: "prometheus", module: "prometheus", tags: "remove_all_sd", programs: map[string]string{
		"prometheus": "github.com/prometheus/prometheus/cmd/prometheus",
		"promtool":   "github.com/prometheus/prometheus/cmd/promtool",
	}})
}

// program returns the path of the one program of a tool.
func program(ctx context.Context, name, module, path string) (string, error) {
	dir, err := build(ctx, tool{name: name, module: module, programs: map[string]string{name: path}})
	return filepath.Join(dir, name), err
}

// build returns the directory of a tool's programs in the cache. The first call on a
// machine builds them and says so on standard error. Errors name what is lacking.
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
	return prepareOnce(ctx, t.name+"-"+hex.EncodeToString(sum[:6]), func(ctx context.Context, dir string) error {
		return buildIn(ctx, dir, module, t)
	})
}

func buildIn(ctx context.Context, dir, module string, t tool) error {
	if _, err := exec.LookPath("go"); err != nil {
		return fmt.Errorf("build %s: %w", t.name, errors.New("there is no go command on the PATH"))
	}
	fmt.Fprintf(log, "keygate: building %s from its Go module, once (up to 8 minutes on two cores)\n", t.name)
	start := time.Now()
	for _, name := range slices.Sorted(maps.Keys(t.programs)) {
		if _, err := runGo(ctx, module, "build", "-mod=readonly", "-buildvcs=false", "-tags", t.tags, "-ldflags=-s -w",
			"-o", filepath.Join(dir, name), t.programs[name]); err != nil {
			return fmt.Errorf("build %s: %w", name, err)
		}
	}
	fmt.Fprintf(log, "keygate: built in %s\n", time.Since(start).Round(time.Second))
	return nil
}
