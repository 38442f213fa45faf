package audit

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpen appends to a file that is there, and names keys by their ids alone.
func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	digest := strings.Repeat("0123456789abcdef", 4)
	for range 2 {
		log, end, err := Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		log.Write(t.Context(), Entry{Event: Restored, Name: "ci", Note: "the Secret key-" + digest})
		if err := end(); err != nil {
			t.Error(err)
		}
	}
	lines, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(lines), `"event":"restored"`); got != 2 {
		t.Errorf("%d lines, want 2:\n%s", got, lines)
	}
	if strings.Contains(string(lines), digest) {
		t.Error("a digest is in the stream")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read it: %v, %v", info.Mode(), err)
	}
}

// TestOpenElsewhere: without a file, the stream goes where the log goes.
func TestOpenElsewhere(t *testing.T) {
	for _, path := range []string{"", "-"} {
		var out bytes.Buffer
		log, end, err := Open(path, &out)
		if err != nil {
			t.Fatal(err)
		}
		log.Write(t.Context(), Entry{Event: Created})
		if err := end(); err != nil || !strings.Contains(out.String(), `"msg":"audit"`) {
			t.Errorf("%q: %v, %s", path, err, out.String())
		}
	}
	if _, _, err := Open(filepath.Join(t.TempDir(), "no", "such", "place"), nil); err == nil {
		t.Error("a file where there can be none was opened")
	}
}
