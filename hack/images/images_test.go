package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const tree = "../.."

// TestImages builds the image twice, the second time from a copy of the tree that
// lies elsewhere and has no git, and looks at the first.
func TestImages(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	if err := run(t.Context(), tree, first); err != nil {
		t.Fatal(err)
	}
	s, err := describe(t.Context(), tree)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("VERSION", s.version)
	t.Setenv("REVISION", s.revision)
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	if other, err := describe(t.Context(), t.TempDir()); err != nil || other.version != s.version || other.made.Unix() != 1 {
		t.Fatalf("got %+v, %v from the environment", other, err)
	}
	t.Setenv("SOURCE_DATE_EPOCH", strconv.FormatInt(s.made.Unix(), 10))
	if err := run(t.Context(), copyTree(t), second); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"digest", "version", "keygate-amd64.tar", "keygate-arm64.tar", "oci/index.json"} {
		if !bytes.Equal(read(t, first, file), read(t, second, file)) {
			t.Errorf("%s differs between two builds of the same tree", file)
		}
	}
	t.Run("layout", func(t *testing.T) { checkLayout(t, first) })
	for _, architecture := range architectures {
		t.Run(architecture, func(t *testing.T) { checkImage(t, first, architecture, s) })
	}
}

// copyTree copies what git knows of the tree, and what it would take in.
func copyTree(t *testing.T) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "another", "place")
	list, err := exec.Command("git", "-C", tree, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(tree, path))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(to, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// checkLayout: whoever reads the layout finds one image for each platform, whole.
func checkLayout(t *testing.T, dir string) {
	index, err := layout.ImageIndexFromPath(filepath.Join(dir, "oci"))
	if err != nil {
		t.Fatal(err)
	}
	outer, err := index.IndexManifest()
	if err != nil || len(outer.Manifests) != 1 {
		t.Fatalf("got %v, %v", outer, err)
	}
	if got := strings.TrimSpace(string(read(t, dir, "digest"))); got != outer.Manifests[0].Digest.String() {
		t.Errorf("the digest told is %s, the layout's is %s", got, outer.Manifests[0].Digest)
	}
	inner, err := index.ImageIndex(outer.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(inner); err != nil {
		t.Error(err)
	}
	manifest, err := inner.IndexManifest()
	if err != nil || len(manifest.Manifests) != len(architectures) {
		t.Fatalf("got %v, %v", manifest, err)
	}
	for i, architecture := range architectures {
		if got := manifest.Manifests[i].Platform; got.OS != "linux" || got.Architecture != architecture {
			t.Errorf("image %d is for %v", i, got)
		}
	}
}

// checkImage: an image that Docker loads has the programs, static, and nothing else,
// and does not run as root.
func checkImage(t *testing.T, dir, architecture string, s source) {
	image, err := tarball.ImageFromPath(filepath.Join(dir, "keygate-"+architecture+".tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || config.Architecture != architecture || config.OS != "linux" {
		t.Errorf("user %q, platform %s/%s", config.Config.User, config.OS, config.Architecture)
	}
	if got := config.Config.Labels["org.opencontainers.image.revision"]; got != s.revision {
		t.Errorf("revision %q", got)
	}
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[architecture]
	files := contents(t, image)
	if len(files) != len(commands) {
		t.Errorf("the image holds %d files", len(files))
	}
	for _, command := range commands {
		program, err := elf.NewFile(bytes.NewReader(files[command]))
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		if program.Machine != machine || program.Section(".interp") != nil {
			t.Errorf("%s is for %v, dynamic: %v", command, program.Machine, program.Section(".interp") != nil)
		}
		if architecture == runtime.GOARCH {
			checkVersion(t, command, files[command], s.version)
		}
	}
}

// contents are the files of an image.
func contents(t *testing.T, image v1.Image) map[string][]byte {
	t.Helper()
	reader := mutate.Extract(image)
	defer reader.Close()
	files := map[string][]byte{}
	for archive := tar.NewReader(reader); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Mode != 0o555 || header.Uid != 0 {
			t.Errorf("%s has mode %o and owner %d", header.Name, header.Mode, header.Uid)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

// checkVersion runs a program of the image.
func checkVersion(t *testing.T, command string, program []byte, want string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), command)
	if err := os.WriteFile(path, program, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "--version").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("%s --version: %q, %v; want %q", command, out, err, want)
	}
}

func read(t *testing.T, dir, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
