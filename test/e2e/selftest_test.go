package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"keygate.dev/keygate/test/chart"
	"keygate.dev/keygate/test/rig"
)

// as returns a kubeconfig of an account that a template of the chart makes, in the
// release's namespace.
func (s *stack) as(t *testing.T, account, namespace, template string) string {
	t.Helper()
	dir := t.TempDir()
	for i, object := range chart.Render(t, "--namespace="+namespace, "--show-only=templates/"+template) {
		if kind := object.GetKind(); kind != "ServiceAccount" && kind != "Role" && kind != "RoleBinding" {
			continue
		}
		text, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.json", i)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.kubectl(t, "apply", "--server-side", "-f", dir)
	config, err := clientcmd.LoadFromFile(s.vars["KUBECONFIG"])
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimSpace(s.kubectl(t, "create", "token", account, "--namespace="+namespace))
	for name := range config.AuthInfos {
		config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: token}
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// selftest runs the command of `helm test` against the stack's API server, with the
// rights that the chart gives it.
func (s *stack) selftest(t *testing.T, namespace, extauthz string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"run", "./cmd/selftest",
		"--kubeconfig=" + s.as(t, "keygate-selftest", namespace, "selftest.yaml"), "--namespace=" + namespace, "--extauthz=" + extauthz}, args...)...)
	cmd.Dir = rig.Root()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// left are the names of the APIKeys and APIKeyPolicies of a namespace.
func (s *stack) left(t *testing.T, namespace string) []string {
	t.Helper()
	var names []string
	for _, resource := range []string{"apikeys", "apikeypolicies"} {
		list, err := s.dynamic.Resource(schema.GroupVersionResource{Group: "keygate.dev", Version: "v1alpha1", Resource: resource}).
			Namespace(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range list.Items {
			names = append(names, resource+"/"+item.GetName())
		}
	}
	return names
}

// TestSelftest: it passes against this stack, twice in a row, tells no token, and
// leaves nothing behind.
func TestSelftest(t *testing.T) {
	ns := shared.namespace(t, nil)
	for range 2 {
		out, err := shared.selftest(t, ns, shared.vars["EXTAUTHZ"])
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, want := range []string{"with the key: 200", "without a key: 401", "with the key, revoked: 401"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		if strings.Contains(out, "keygate_selftest_") {
			t.Error("the token was told")
		}
		if left := shared.left(t, ns); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// allower lets everybody in.
type allower struct {
	authv3.UnimplementedAuthorizationServer
}

func (allower) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{Status: &status.Status{}}, nil
}

// TestSelftestFails: against a server that lets everybody in, it fails and leaves
// nothing behind.
func TestSelftestFails(t *testing.T) {
	ns := shared.namespace(t, nil)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, allower{})
	go func() { _ = server.Serve(lis) }() // ends with Stop
	defer server.Stop()
	out, err := shared.selftest(t, ns, lis.Addr().String(), "--timeout=20s")
	if err == nil || !strings.Contains(out, "without a key: got status 200, want 401") {
		t.Errorf("got %v\n%s", err, out)
	}
	if left := shared.left(t, ns); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
