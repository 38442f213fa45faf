package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/test/rig"
)

// TestCommandLine replays the session of docs/cli.md on the stack: every command in
// one shell, as a reader would, with what it prints.
func TestCommandLine(t *testing.T) {
	s := shared
	page, err := os.ReadFile(filepath.Join(rig.Root(), "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := transcript(string(page))
	if len(sections) < 8 {
		t.Fatalf("the page has %d sections with a console", len(sections))
	}
	shell := s.shell(t)
	for _, section := range sections {
		t.Run(section.title, func(t *testing.T) {
			for _, c := range section.commands {
				shell.replay(t, c)
			}
		})
	}
}

// section is a part of a page that shows a console.
type section struct {
	title    string
	commands []command
}

// command is a line that is typed, and what is printed after it.
type command struct {
	line string
	want []string
}

// transcript reads the console blocks of a page.
func transcript(page string) []section {
	sections := []section{{title: "Start"}}
	inside := false
	for line := range strings.Lines(page) {
		line = strings.TrimSuffix(line, "\n")
		at := &sections[len(sections)-1]
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case !inside && strings.HasPrefix(line, "## "):
			sections = append(sections, section{title: line[3:]})
		case inside && strings.HasPrefix(line, "$ "):
			at.commands = append(at.commands, command{line: line[2:]})
		case inside:
			last := &at.commands[len(at.commands)-1]
			last.want = append(last.want, line)
		}
	}
	var shown []section
	for _, one := range sections {
		if len(one.commands) > 0 {
			shown = append(shown, one)
		}
	}
	return shown
}

// shell is a bash with the stack's environment.
type shell struct {
	in  io.Writer
	out *bufio.Reader
	n   int
}

// shell starts a bash in the tree's root, with a kubeconfig of its own.
func (s *stack) shell(t *testing.T) *shell {
	t.Helper()
	dir := t.TempDir()
	config, err := os.ReadFile(s.vars["KUBECONFIG"])
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(own, config, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "--norc")
	cmd.Dir = rig.Root()
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = io.WriteString(in, "exit\n")
		_ = cmd.Wait() // its last command's code means nothing
	})
	sh := &shell{in: in, out: bufio.NewReader(out)}
	sh.run(t, ". "+filepath.Join(s.dir, "env")+"; export KUBECONFIG="+own)
	return sh
}

// run runs a line and returns what it printed. $? is that of the line before.
func (sh *shell) run(t *testing.T, line string) string {
	t.Helper()
	sh.n++
	end := fmt.Sprintf("--- end of command %d ---", sh.n)
	script := fmt.Sprintf("exec 3>&1; { (exit ${code:-0}); eval %s; code=$?; } </dev/null >&3 2>&1; printf '\\n%%s\\n' %s\n", quoted(line), quoted(end))
	if _, err := io.WriteString(sh.in, script); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for {
		text, err := sh.out.ReadString('\n')
		if text == end+"\n" {
			return strings.Trim(said.String(), "\n")
		}
		said.WriteString(text)
		if err != nil {
			t.Fatalf("%s: the shell ended: %v\n%s", line, err, said.String())
		}
	}
}

// quoted quotes a word for a shell.
func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// looks are commands that change nothing. What they show may lag behind: Events are
// written, and extauthz hears of changes, a moment later.
var looks = regexp.MustCompile(`kubectl apikey (list|describe|audit|can-i|verify) |kubectl apikey (list|token )`)

// replay runs a command and compares what it prints.
func (sh *shell) replay(t *testing.T, c command) {
	t.Helper()
	got := sh.run(t, c.line)
	if looks.MatchString(c.line) {
		eventually(t, func() string {
			if matches(c.want, got) {
				return ""
			}
			last := cmp.Diff(normal(strings.Join(c.want, "\n")), normal(got))
			got = sh.run(t, c.line)
			return "$ " + c.line + "\n" + last
		})
		return
	}
	if !matches(c.want, got) {
		t.Fatalf("$ %s\n%s", c.line, cmp.Diff(normal(strings.Join(c.want, "\n")), normal(got)))
	}
}

// matches compares what was printed with what the page shows. A line … is any number of
// lines.
func matches(want []string, got string) bool {
	var pattern strings.Builder
	for _, line := range want {
		if strings.TrimSpace(line) == "…" {
			pattern.WriteString(`(.*\n)*?`)
			continue
		}
		pattern.WriteString(regexp.QuoteMeta(normal(line)) + `\n`)
	}
	text := normal(got)
	if text != "" {
		text += "\n"
	}
	return regexp.MustCompile(`^` + pattern.String() + `$`).MatchString(text)
}

// variable is what differs from session to session, with what takes its place.
var variable = []struct {
	shape *regexp.Regexp
	name  string
}{
	{regexp.MustCompile(`\bsk_[0-9a-f]{4}…`), "HINT"},
	{regexp.MustCompile(`\bsk_[0-9a-f]{10}(…|[0-9a-f]{38}\b)`), "TOKEN"},
	{regexp.MustCompile(`\b[0-9a-f]{16}\b`), "KEYID"},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
	{regexp.MustCompile(`\b(\d+[smh])+ ago`), "JUST NOW"},
	{regexp.MustCompile(`(?m) (\d+[smh])+$`), " AGE"},
	{regexp.MustCompile(`[ \t]+`), " "},
	{regexp.MustCompile(`(?m) $`), ""},
}

// normal is a text without what differs.
func normal(text string) string {
	for _, v := range variable {
		text = v.shape.ReplaceAllString(text, v.name)
	}
	return text
}

// TestCurlLine runs the line that create shows, in bash, and types the key at its
// prompt: it reaches the API through Envoy.
func TestCurlLine(t *testing.T) {
	s := shared
	s.sample(t, "stepsies.yaml")
	ns := s.namespace(t, map[string]string{"stepsies.com/api": "true"})
	cmd := exec.CommandContext(t.Context(), s.program(t, "kubectl-apikey"), "create", "shown", "--policy", "platform/stepsies", "--scopes", "read", "-n", ns)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.vars["KUBECONFIG"])
	var said strings.Builder
	cmd.Stderr = &said
	token, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, said.String())
	}
	line := regexp.MustCompile(`(?m)^  (read -rs .*)$`).FindStringSubmatch(said.String())
	if line == nil || strings.Contains(said.String(), strings.TrimSpace(string(token))) {
		t.Fatalf("no line to try, or one with the token in it:\n%s", said.String())
	}
	s.settle(t)
	home := t.TempDir()
	port := s.vars["GATEWAY_TLS"][strings.LastIndexByte(s.vars["GATEWAY_TLS"], ':')+1:]
	if _, err := strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	config := "connect-to = \"api.stepsies.com:443:127.0.0.1:" + port + "\"\ninsecure\nsilent\nshow-error\nwrite-out = \" %{http_code}\"\n"
	if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	bash := exec.CommandContext(t.Context(), "bash", "--norc", "-c", line[1])
	bash.Env = append(os.Environ(), "CURL_HOME="+home, "HOME="+home)
	bash.Stdin = strings.NewReader(string(token))
	answer, err := bash.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(answer), " 200") {
		t.Errorf("%v: %s", err, answer)
	}
}
