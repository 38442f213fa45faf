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

// envoyGatewayPackage is what the program is built from; the version is that of
// hack/envoygateway/go.mod.
const envoyGatewayPackage = "github.com/envoyproxy/gateway/cmd/envoy-gateway"

// EnvoyGateway returns the path of an envoy-gateway program: $ENVOY_GATEWAY, else a
// cached one. The first call on a machine builds it from the module
// hack/envoygateway, which takes minutes; it says so on standard error. Errors name
// what is lacking.
func EnvoyGateway(ctx context.Context) (string, error) {
	if path := os.Getenv("ENVOY_GATEWAY"); path != "" {
		if !isProgram(path) {
			return "", fmt.Errorf("ENVOY_GATEWAY=%s is not a program", path)
		}
		return filepath.Abs(path)
	}
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "hack", "envoygateway")
	gomod, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("read the pinned version of Envoy Gateway: %w", err)
	}
	sum := sha256.Sum256(gomod)
	dir, err := prepareOnce(ctx, "envoy-gateway-"+hex.EncodeToString(sum[:6]), func(ctx context.Context, dir string) error {
		return buildEnvoyGateway(ctx, module, dir)
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "envoy-gateway"), nil
}

func buildEnvoyGateway(ctx context.Context, module, dir string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("build Envoy Gateway: there is no go command on the PATH (or set ENVOY_GATEWAY)")
	}
	fmt.Fprintln(log, "keygate: building Envoy Gateway from its Go module, once (2 to 8 minutes on two cores)")
	start := time.Now()
	if _, err := runGo(ctx, module, "build", "-mod=readonly", "-buildvcs=false", "-ldflags", "-s -w",
		"-o", filepath.Join(dir, "envoy-gateway"), envoyGatewayPackage); err != nil {
		return fmt.Errorf("build Envoy Gateway: %w", err)
	}
	fmt.Fprintf(log, "keygate: built in %s\n", time.Since(start).Round(time.Second))
	return nil
}
