package e2e

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// kubectl runs kubectl as the stack's administrator and returns what it prints.
func (s *stack) kubectl(tb testing.TB, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(context.Background(), s.program(tb, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.vars["KUBECONFIG"])
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// program finds a program on the stack's PATH.
func (s *stack) program(tb testing.TB, name string) string {
	tb.Helper()
	for dir := range strings.SplitSeq(s.vars["PATH"], ":") {
		if path := strings.Trim(dir, `"'`) + "/" + name; strings.HasPrefix(path, "/") {
			if info, err := os.Stat(path); err == nil && !info.IsDir() {
				return path
			}
		}
	}
	tb.Fatalf("no %s on the stack's PATH", name)
	return ""
}

// tryPatch merges JSON into an APIKey, or says why not.
func (s *stack) tryPatch(namespace, name, json string) error {
	_, err := s.keys(namespace).Patch(context.Background(), name, types.MergePatchType, []byte(json), metav1.PatchOptions{})
	return err
}
