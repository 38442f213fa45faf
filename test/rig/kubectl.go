package rig

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Kubectl runs kubectl as the cluster's admin, with what it reads from standard input,
// and returns what it prints. Warnings of the API server are failures.
func (s *Stack) Kubectl(tb testing.TB, stdin string, args ...string) string {
	tb.Helper()
	args = append([]string{"--kubeconfig=" + s.Vars["KUBECONFIG"], "--warnings-as-errors"}, args...)
	return Output(tb, filepath.Join(s.Dir, "bin", "kubectl"), stdin, args...)
}

// Output runs a program that must succeed and returns what it prints.
func Output(tb testing.TB, program, stdin string, args ...string) string {
	tb.Helper()
	cmd := exec.Command(program, args...) // no context: a test's has ended when it cleans up
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s: %v: %s", strings.Join(cmd.Args, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out))
}
