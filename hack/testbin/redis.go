package testbin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// redisHint says how to get a Redis where Redis can't be installed for the user.
const redisHint = "there is no redis-server: install the package redis-server (Debian, Ubuntu) or redis (Alpine, Fedora, Homebrew), or set REDIS_SERVER"

// Redis returns the path of a redis-server program: $REDIS_SERVER, else
// `redis-server` on the PATH, else, for root on a Debian, that of the package
// redis-server, which is installed (containers forbid the start of its service, by
// policy-rc.d(8)). Errors say what to install.
func Redis(ctx context.Context) (string, error) {
	if path := os.Getenv("REDIS_SERVER"); path != "" {
		if !isProgram(path) {
			return "", fmt.Errorf("REDIS_SERVER=%s is not a program", path)
		}
		return filepath.Abs(path)
	}
	if path, err := exec.LookPath("redis-server"); err == nil {
		return filepath.Abs(path)
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return "", errors.New(redisHint)
	}
	return installRedis(ctx)
}

// installRedis installs the package for one process at a time.
func installRedis(ctx context.Context) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	unlock, err := lockFile(ctx, filepath.Join(cache, "redis-server.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if path, err := exec.LookPath("redis-server"); err == nil { // another process was faster
		return filepath.Abs(path)
	}
	fmt.Fprintln(log, "keygate: installing the package redis-server with apt-get, once")
	install := []string{"install", "-y", "-q", "--no-install-recommends", "redis-server"}
	if apt(ctx, install...) != nil { // the lists of packages may be missing or old
		if err := errors.Join(apt(ctx, "update", "-q"), apt(ctx, install...)); err != nil {
			return "", fmt.Errorf("%s: %w", redisHint, err)
		}
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return "", errors.New(redisHint)
	}
	return filepath.Abs(path)
}

// apt runs apt-get. The error ends with the last line that it printed.
func apt(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", args[0], err, lastLine(string(out)))
	}
	return nil
}
