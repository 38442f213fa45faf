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
	"time"
)

// prometheusRecipe goes into the cache key: raise it when the build below changes.
const prometheusRecipe = "1"

// Prometheus returns a directory that holds prometheus and promtool, built from the
// module hack/prometheus once, which takes minutes and is said on standard error.
func Prometheus(ctx context.Context) (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "hack", "prometheus")
	gomod, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("read the pinned Prometheus version: %w", err)
	}
	sum := sha256.Sum256(append(gomod, prometheusRecipe...))
	return prepareOnce(ctx, "prometheus-"+hex.EncodeToString(sum[:6]), func(ctx context.Context, dir string) error {
		return buildPrometheus(ctx, module, dir)
	})
}

func buildPrometheus(ctx context.Context, module, dir string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("build Prometheus: there is no go command on the PATH")
	}
	fmt.Fprintln(log, "keygate: building prometheus and promtool from their Go module, once (1 to 5 minutes on two cores)")
	start := time.Now()
	for _, name := range []string{"prometheus", "promtool"} {
		// Without service discovery but files' and fixed targets: the rest is most of it.
		if _, err := runGo(ctx, module, "build", "-mod=readonly", "-buildvcs=false", "-tags", "remove_all_sd", "-ldflags", "-s -w",
			"-o", filepath.Join(dir, name), "github.com/prometheus/prometheus/cmd/"+name); err != nil {
			return fmt.Errorf("build %s: %w", name, err)
		}
	}
	fmt.Fprintf(log, "keygate: built in %s\n", time.Since(start).Round(time.Second))
	return nil
}
