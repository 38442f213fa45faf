package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
	"keygate.dev/keygate/test/apiserver"
)

func TestMain(m *testing.M) { apiserver.Main(m) }

// token is the token of the test's key.
const token = "sk_0123456789abcdef0123456789abcdef0123456789abcdef"

// lines is a log that can be read while it is written.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// field is a member of the first line with a message, "" where there is none yet.
func (l *lines) field(message, member string) string {
	for line := range strings.Lines(l.String()) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
			text, _ := entry[member].(string)
			return text
		}
	}
	return ""
}

// until waits for a condition.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within 30 s", what)
		case <-tick.C:
		}
	}
}

// kubeconfig writes a config to a file.
func kubeconfig(t *testing.T, c *rest.Config) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: c.Host, CertificateAuthorityData: c.CAData}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"u": {Token: c.BearerToken}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "c", AuthInfo: "u"}},
		CurrentContext: "x",
	}, path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// get is the status and body of a page.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// stepsies is the policy of the test.
func stepsies() *policy.Source {
	return &policy.Source{
		Namespace: "platform", Name: "stepsies", UID: "uid-stepsies", Created: time.Unix(1, 0).UTC(), ClaimsHosts: true,
		Spec: v1alpha1.APIKeyPolicySpec{
			Hosts:        []v1alpha1.Host{"api.stepsies.com"},
			KeyFormat:    v1alpha1.KeyFormat{Encoding: v1alpha1.EncodingHex, Length: 48},
			Environments: []v1alpha1.Environment{{Name: "live", Prefix: "sk_"}},
			Rules:        []v1alpha1.Rule{{Paths: []v1alpha1.PathPattern{"/me"}, AnyKey: true}},
		},
	}
}

// TestRun is the life of the program on a real API server, under the identity that
// it ships with: not ready without a root Secret, then deciding, then drained.
func TestRun(t *testing.T) {
	server := apiserver.Start(t)
	admin, err := kubernetes.NewForConfig(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	put := func(secret *corev1.Secret, err error) *corev1.Secret {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		secret, err = admin.CoreV1().Secrets(secret.Namespace).Create(t.Context(), secret, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	log := &lines{}
	o, err := parseFlags([]string{
		"--listen=unix://" + filepath.Join(t.TempDir(), "keygate.sock"), "--admin-listen=127.0.0.1:0",
		"--kubeconfig=" + kubeconfig(t, server.Extauthz()), "--drain-delay=0s",
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o) }()
	until(t, "listening", func() bool { return log.field("listening", "admin") != "" })
	url := "http://" + log.field("listening", "admin")

	conn, err := grpc.NewClient(o.listen, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ask := func() *authv3.CheckResponse {
		out, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
				Method: "GET", Path: "/me", Host: "api.stepsies.com", Headers: map[string]string{"authorization": "Bearer " + token},
			}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := ask(); out.GetErrorResponse() == nil {
		t.Errorf("without a root Secret: %v", out)
	}
	if status, _ := get(t, url+"/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz without a root Secret: %d", status)
	}
	if status, _ := get(t, url+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d", status)
	}

	root, err := keysecret.ParseRoot(put(keysecret.NewRootSecret(o.systemNamespace), nil))
	if err != nil {
		t.Fatal(err)
	}
	put(root.Sealer.EncodePolicy(o.keysNamespace, stepsies()))
	digest, pepper := root.Peppers.Sum([]byte(token))
	record := &apikey.Record{
		Digest: digest, Pepper: pepper, Serial: 1, State: apikey.Active, Environment: "live",
		Owner:  apikey.Ref{Namespace: "acme", Name: "ci", UID: "uid-ci"},
		Policy: apikey.Ref{Namespace: "platform", Name: "stepsies", UID: "uid-stepsies"},
	}
	put(root.Sealer.EncodeRecord(o.keysNamespace, record))
	until(t, "an allow", func() bool { return ask().GetOkResponse() != nil })
	if status, _ := get(t, url+"/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d", status)
	}
	record.State = apikey.Revoked
	revoked, err := root.Sealer.EncodeRecord(o.keysNamespace, record)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CoreV1().Secrets(o.keysNamespace).Update(t.Context(), revoked, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, "a denial", func() bool { return ask().GetDeniedResponse().GetStatus().GetCode() == 401 })
	_, metrics := get(t, url+"/metrics")
	if want := `keygate_decisions_total{detail="revoked",policy="platform/stepsies",reason="invalid_key"}`; !strings.Contains(metrics, want) {
		t.Errorf("no %s in the metrics", want)
	}
	if status, _ := get(t, url+"/debug/pprof/"); status != http.StatusNotFound {
		t.Errorf("profiles are served unasked: %d", status)
	}

	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), token) {
		t.Error("the token is in the log")
	}
}

// TestRunFails: what can't work is said at once, and what was opened is closed.
func TestRunFails(t *testing.T) {
	kube := kubeconfig(t, &rest.Config{Host: "https://127.0.0.1:1"})
	socket := "unix://" + filepath.Join(t.TempDir(), "keygate.sock")
	for name, args := range map[string][]string{
		"no kubeconfig":      {"--kubeconfig=/nowhere"},
		"no TLS files":       {"--kubeconfig=" + kube, "--tls-cert=/nowhere", "--tls-key=/nowhere"},
		"no URL of Redis":    {"--kubeconfig=" + kube, "--rate-limit-redis=nowhere"},
		"no place to listen": {"--kubeconfig=" + kube, "--listen=nowhere"},
		"no admin place":     {"--kubeconfig=" + kube, "--listen=" + socket, "--admin-listen=nowhere"},
		"the socket is free": {"--kubeconfig=" + kube, "--listen=" + socket, "--admin-listen=nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parseFlags(args, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			if err := run(t.Context(), o); err == nil || strings.Contains(err.Error(), "another process") {
				t.Errorf("run returned %v", err)
			}
		})
	}
}
