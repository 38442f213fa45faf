package command

import (
	"context"
	"encoding/base64"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/klog/v2"

	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
)

// TestNoLogHoldsAToken: at the highest verbosity, where client-go logs the bodies of
// requests, the token is on standard output and nowhere else.
func TestNoLogHoldsAToken(t *testing.T) {
	w := newWorld(t)
	before := len(logged.String())
	t.Cleanup(func() { w.run("version", "-v=0") })

	created := w.run("create", "loud", "--policy", sample, "--scopes", "read", "--keep-secret", "-v=10")
	created.wants(t, outcome.Done)
	secret := strings.TrimSpace(created.out)
	said := created.err
	for _, args := range [][]string{{"token", "loud", "-v=10"}, {"describe", "loud", "-v=10"}, {"list", "-o", "yaml", "-v=10"}, {"audit", "-o", "json", "-v=10"}} {
		got := w.run(args...)
		got.wants(t, outcome.Done)
		said += got.err
		if args[0] != "token" {
			said += got.out
		}
	}
	verified := w.runWith(secret, "verify", "--extauthz", w.extauthz, "-v=10")
	verified.wants(t, outcome.Done)
	said += verified.out + verified.err
	klog.Flush()
	log := logged.String()[before:]
	if !strings.Contains(log, "Response Body") {
		t.Fatalf("bodies are not logged at all, so this shows nothing:\n%.2000s", log)
	}
	for form, text := range map[string]string{"plain": secret[3:], "base64": base64.StdEncoding.EncodeToString([]byte(secret))[4:40]} {
		if strings.Contains(said+log, text) {
			t.Errorf("the token was written out, %s", form)
		}
	}
	if strings.Contains(dumped(log), secret[3:]) {
		t.Error("the token was written out, in a hex dump")
	}
}

// dumpLine is a line of a hex dump, as client-go logs bodies that are no text.
var dumpLine = regexp.MustCompile(`(?m)\|(.{1,16})\|$`)

// dumped is the text in hex dumps.
func dumped(log string) string {
	var text strings.Builder
	for _, line := range dumpLine.FindAllStringSubmatch(log, -1) {
		text.WriteString(line[1])
	}
	return text.String()
}

// TestTokensAreNoArguments: what could be a token on the command line is refused, and
// not repeated.
func TestTokensAreNoArguments(t *testing.T) {
	const leaked = "sk_live_0123456789abcdefghijklmnop"
	for _, args := range [][]string{
		{"verify", leaked}, {"verify", "--policy", "p/q", leaked},
		{"create", "x", "--policy", "p", "--sha256", leaked}, {"create", "x", leaked, "--policy", "p"},
		{"can-i", "x", "GET", "/", leaked}, {"token", "x", leaked},
	} {
		got := runLine(context.Background(), "", append(args, "--kubeconfig", "testdata/none")...)
		if got.code != outcome.Usage || strings.Contains(got.out+got.err, leaked) {
			t.Errorf("%v: %s", args[:1], got)
		}
	}
	runLine(context.Background(), "", "verify", leaked).wants(t, outcome.Usage, "in your shell's history", "kubectl apikey rotate NAME --overlap 0s")
}

// TestVerifyReadsATokenAlone: what is no token is refused before anything is asked, and
// not repeated.
func TestVerifyReadsATokenAlone(t *testing.T) {
	w := newCluster(t)
	for name, in := range map[string]string{
		"nothing": "\n", "a header": "Authorization: Bearer sk_secret\n", "two": "sk_secret1\nsk_secret2\n", "too long": strings.Repeat("sk_secret", 80),
	} {
		got := w.runWith(in, "verify", "--extauthz", "127.0.0.1:1")
		if got.code != outcome.Usage || strings.Contains(got.err, "sk_secret") {
			t.Errorf("%s: %s", name, got)
		}
	}
	t.Run("not over a network in the clear", func(t *testing.T) {
		w.applySampleUnjudged()
		w.runWith("sk_secret\n", "verify", "--extauthz", "192.0.2.1:9001").wants(t, outcome.Usage, "in the clear", "--extauthz-ca")
	})
}

// TestStartsNoProcess: nothing of this program starts another one, so that no token
// can be among the arguments of one. (client-go starts credential plugins, which know
// of no token.)
func TestStartsNoProcess(t *testing.T) {
	files := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		files++
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			if spec.Path.Value == `"os/exec"` || spec.Path.Value == `"unsafe"` {
				t.Errorf("%s imports %s", path, spec.Path.Value)
			}
		}
		if strings.Contains(string(source), "StartProcess") || strings.Contains(string(source), "syscall.Exec") {
			t.Errorf("%s starts a process", path)
		}
		return nil
	})
	must(t, err)
	if files < 20 {
		t.Errorf("only %d files were looked at", files)
	}
}
