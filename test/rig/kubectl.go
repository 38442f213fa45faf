package rig

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Kubectl runs kubectl as the cluster's admin, with what it reads from standard input,
// and returns what it prints. Warnings of the API server are failures.
func (s *Stack) Kubectl(tb testing.TB, stdin string, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), filepath.Join(s.Dir, "bin", "kubectl"), append([]string{"--warnings-as-errors"}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Vars["KUBECONFIG"])
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out))
}
