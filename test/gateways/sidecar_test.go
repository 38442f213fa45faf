package gateways

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"keygate.dev/keygate/test/conformance"
	"keygate.dev/keygate/test/rig"
)

// socketInPod is where the manifest has the socket.
const socketInPod = "/run/keygate/extauthz.sock"

// TestSidecar is docs/sidecar.md: extauthz as config/gateways/sidecar.yaml runs it, by
// its arguments and under its ServiceAccount, and Envoy over the socket.
func TestSidecar(t *testing.T) {
	keys := tokens(t)
	stack.Kubectl(t, rig.Manifest(t, "sidecar.yaml"), "apply", "-f", "-")
	deployment, err := stack.Kube.AppsV1().Deployments("edge").Get(t.Context(), "envoy", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	admitted(t, deployment)

	socket := filepath.Join(t.TempDir(), "extauthz.sock")
	container := deployment.Spec.Template.Spec.InitContainers[0]
	if container.Name != "extauthz" || *container.RestartPolicy != corev1.ContainerRestartPolicyAlways || container.StartupProbe == nil {
		t.Fatalf("the first init container is no sidecar: %v", container)
	}
	args := edited(t, container.Args, socketInPod, socket)
	extauthz := stack.StartExtauthzAs(t, kubeconfig(t, deployment), append(args, "--admin-listen=127.0.0.1:0")...)
	if info, err := os.Stat(socket); err != nil || info.Mode() != os.ModeSocket|0o660 {
		t.Errorf("the socket is for others, too: %v %v", info.Mode(), err)
	}

	p := &plain{extauthz: extauthz}
	p.start(t, overSocket(t, socket))
	conformance.Run(t, p.way, conformance.Stepsies, keys)
	t.Run("no extauthz", func(t *testing.T) { p.outage(t, keys["read"]) })
	t.Run("extauthz again", func(t *testing.T) {
		stack.StartExtauthzAs(t, kubeconfig(t, deployment), append(args, "--admin-listen=127.0.0.1:0")...)
		conformance.Await(t, p.way, conformance.Stepsies, keys)
	})
}

// admitted: the API server lets in a pod of the Deployment, under the restricted
// standard that its namespace enforces.
func admitted(t *testing.T, d *appsv1.Deployment) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "try", Labels: d.Spec.Template.Labels}, Spec: d.Spec.Template.Spec}
	if _, err := stack.Kube.CoreV1().Pods(d.Namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
		t.Error(err)
	}
}

// edited replaces a text in arguments, one of which must have it.
func edited(t *testing.T, args []string, old, with string) []string {
	t.Helper()
	if !slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, old) }) {
		t.Fatalf("%q is not in %q", old, args)
	}
	var out []string
	for _, arg := range args {
		out = append(out, strings.ReplaceAll(arg, old, with))
	}
	return out
}

// kubeconfig authenticates as the pod's ServiceAccount.
func kubeconfig(t *testing.T, d *appsv1.Deployment) string {
	t.Helper()
	token := stack.Kubectl(t, "", "create", "token", "-n", d.Namespace, d.Spec.Template.Spec.ServiceAccountName)
	config := rest.AnonymousClientConfig(stack.Config)
	ca := config.CAData
	if len(ca) == 0 {
		var err error
		if ca, err = os.ReadFile(config.CAFile); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: config.Host, CertificateAuthorityData: ca}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}, path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// overSocket is config/gateways/envoy.yaml with the cluster of sidecar-cluster.yaml, as
// docs/sidecar.md puts them together.
func overSocket(t *testing.T, socket string) string {
	t.Helper()
	before, _, found := strings.Cut(bootstrap(t, "127.0.0.1:1"), "  - name: extauthz\n")
	if !found {
		t.Fatal("there is no cluster extauthz to take the place of")
	}
	return before + rig.Edit(t, rig.Manifest(t, "sidecar-cluster.yaml"), [2]string{socketInPod, socket}, [2]string{"connect_timeout: 0.1s", "connect_timeout: 10s"})
}
