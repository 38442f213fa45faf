package command

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
	"k8s.io/utils/ptr"

	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
)

// kubelet is as much of a node as the API server asks for: it forwards ports to this
// machine's, and hands out a log.
type kubelet struct {
	testing.TB
	log string
	// forwarded counts connections.
	mu        sync.Mutex
	forwarded int
}

// ServeHTTP implements [http.Handler].
func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/portForward/"):
		k.forward(w, r)
	case strings.HasPrefix(r.URL.Path, "/containerLogs/"):
		_, _ = io.WriteString(w, k.log)
	default:
		http.NotFound(w, r)
	}
}

// forward speaks the port-forward protocol, version 1: for each connection a stream for
// errors and one for data.
func (k *kubelet) forward(w http.ResponseWriter, r *http.Request) {
	if _, err := httpstream.Handshake(r, w, []string{"portforward.k8s.io"}); err != nil {
		return
	}
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(stream httpstream.Stream, replied <-chan struct{}) error {
		go func() {
			<-replied
			k.serve(stream)
		}()
		return nil
	})
	if conn != nil {
		<-conn.CloseChan()
	}
}

// serve serves one stream.
func (k *kubelet) serve(stream httpstream.Stream) {
	defer stream.Close()
	if stream.Headers().Get(corev1.StreamType) != corev1.StreamTypeData {
		return
	}
	k.mu.Lock()
	k.forwarded++
	k.mu.Unlock()
	target, err := net.Dial("tcp", "127.0.0.1:"+stream.Headers().Get(corev1.PortHeader))
	if err != nil {
		k.Errorf("forward: %v", err)
		return
	}
	go func() {
		_, _ = io.Copy(target, stream)
		_ = target.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(stream, target)
	_ = target.Close()
}

// runNode makes a node of a kubelet, and a pod of extauthz that runs on it.
func (w *world) runNode(k *kubelet) {
	w.Helper()
	server := httptest.NewTLSServer(k)
	w.Cleanup(server.CloseClientConnections)
	w.Cleanup(server.Close)
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	must(w.TB, err)
	number, err := strconv.Atoi(port)
	must(w.TB, err)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{GenerateName: "node-"}}
	must(w.TB, w.admin.Create(w.Context(), node))
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(number)
	must(w.TB, w.admin.Status().Update(w.Context(), node))
	w.Cleanup(func() { _ = w.admin.Delete(context.Background(), node) })

	_, grpc, err := net.SplitHostPort(w.extauthz)
	must(w.TB, err)
	grpcNumber, err := strconv.Atoi(grpc)
	must(w.TB, err)
	pod := extauthzPod(node.Name, int32(grpcNumber))
	must(w.TB, w.admin.Create(w.Context(), pod))
	pod.Status.Phase = corev1.PodRunning
	must(w.TB, w.admin.Status().Update(w.Context(), pod))
	w.Cleanup(func() { _ = w.admin.Delete(context.Background(), pod) })
}

// extauthzPod is a pod such as a chart would make.
func extauthzPod(node string, port int32) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "keygate-system", GenerateName: "extauthz-", Labels: map[string]string{
			"app.kubernetes.io/part-of": "keygate", "app.kubernetes.io/component": "extauthz",
		}},
		Spec: corev1.PodSpec{
			NodeName:                      node,
			TerminationGracePeriodSeconds: ptr.To(int64(0)),
			SecurityContext:               &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "extauthz", Image: "extauthz", Ports: []corev1.ContainerPort{{Name: "admin", ContainerPort: 1}, {Name: "grpc", ContainerPort: port}},
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
			}},
		},
	}
}

// TestThroughTheAPIServer: where nothing is said of extauthz, its pod is asked through
// the API server; so are the logs.
func TestThroughTheAPIServer(t *testing.T) {
	w := newWorld(t)
	token := strings.TrimSpace(w.run("create", "ci", "--policy", sample, "--scopes", "read").out)
	w.becomes(token, outcome.Done, "yes")
	w.runWith(token, "verify").wants(t, outcome.NotFound, "no pod of extauthz runs in keygate-system", "--extauthz HOST:PORT")
	w.run("audit", "ci", "--logs").wants(t, outcome.NotFound, "no pod of Keygate runs", "--from")

	k := &kubelet{TB: t, log: "started\n" + auditLine(w.namespace, "ci", "denied") + auditLine(w.namespace, "other", "created")}
	w.runNode(k)
	w.runWith(token, "verify").wants(t, outcome.Done, "yes", w.namespace+"/ci")
	k.mu.Lock()
	if k.forwarded == 0 {
		t.Error("nothing went through the node")
	}
	k.mu.Unlock()
	got := w.run("audit", "ci", "--logs", "-o", "json")
	got.wants(t, outcome.Done, `"source":"audit"`, `"what":"denied"`)
	if strings.Contains(got.out, "other") {
		t.Errorf("another key's story is told, too: %s", got)
	}
	w.runWith(auditLine(w.namespace, "ci", "rotated"), "audit", "ci", "--from", "-").wants(t, outcome.Done, "2026-01-02T03:04:05Z", w.namespace+"/ci", "rotated", "0123456789abcdef", "kubectl-apikey")
	w.run("audit", "--from", file(t, auditLine("elsewhere", "x", "revoked")), "-A").wants(t, outcome.Done, "elsewhere/x")
	w.run("audit", "--from", "/none").wants(t, outcome.NotFound, "no file /none")
}

// auditLine is a line of the audit log.
func auditLine(namespace, name, event string) string {
	return fmt.Sprintf(`{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"audit","event":%q,"namespace":%q,"name":%q,"keyId":"0123456789abcdef","actor":"kubectl-apikey"}`+"\n",
		event, namespace, name)
}
