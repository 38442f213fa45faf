package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// commands are in the image, each under /.
var commands = []string{"certs", "controller", "extauthz", "selftest"}

// versionVariable is what --version says.
const versionVariable = "keygate.dev/keygate/cmd/internal/version.Version"

// build returns the programs, by name: static, without the paths of this machine
// and the state of the checkout in them.
func build(ctx context.Context, tree, architecture, version string) (_ map[string][]byte, err error) {
	dir, err := os.MkdirTemp("", "keygate-images-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	args := []string{"build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", dir + string(os.PathSeparator),
		"-ldflags=-s -w -buildid= -X " + versionVariable + "=" + version}
	for _, command := range commands {
		args = append(args, "./cmd/"+command)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = tree
	// The caller's flags and tuning would make it another program.
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+architecture, "GOAMD64=v1", "GOARM64=v8.0",
		"CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build for %s: %w\n%s", architecture, err, out)
	}
	programs := map[string][]byte{}
	for _, command := range commands {
		if programs[command], err = os.ReadFile(filepath.Join(dir, command)); err != nil {
			return nil, err
		}
	}
	return programs, nil
}
