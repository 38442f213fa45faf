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
	"sync/atomic"
	"testing"
	"testing/synctest"
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

// life is the program as it runs on a real API server, under the identity that it
// ships with.
type life struct {
	options options
	log     *lines
	// kube is the administrator's.
	kube   kubernetes.Interface
	checks authv3.AuthorizationClient
	// end ends the program and returns what it returned.
	end func() error
}

// begin runs the program until it listens.
func begin(t *testing.T, change ...func(*options)) *life {
	t.Helper()
	server := apiserver.Start(t)
	l := &life{log: &lines{}}
	var err error
	if l.kube, err = kubernetes.NewForConfig(server.Config); err != nil {
		t.Fatal(err)
	}
	if l.options, err = parseFlags([]string{
		"--listen=unix://" + filepath.Join(t.TempDir(), "keygate.sock"), "--admin-listen=127.0.0.1:0",
		"--kubeconfig=" + kubeconfig(t, server.Extauthz()), "--drain-delay=0s",
	}, l.log); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(&l.options)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, l.options) }()
	l.end = sync.OnceValue(func() error { stop(); return <-ended })
	t.Cleanup(func() { _ = l.end() })
	until(t, "listening", func() bool { return l.log.field("listening", "admin") != "" })
	conn, err := grpc.NewClient(l.options.listen, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	l.checks = authv3.NewAuthorizationClient(conn)
	return l
}

// put creates a Secret for as long as the test runs: the API server is shared.
func (l *life) put(t *testing.T) func(*corev1.Secret, error) {
	return func(secret *corev1.Secret, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		secrets := l.kube.CoreV1().Secrets(secret.Namespace)
		if _, err := secrets.Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := secrets.Delete(context.WithoutCancel(t.Context()), secret.Name, metav1.DeleteOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// issue creates the policy, the record of the test's key and the root Secret, without
// which nothing is read.
func (l *life) issue(t *testing.T) (*keysecret.Root, *apikey.Record) {
	t.Helper()
	secret := keysecret.NewRootSecret(l.options.systemNamespace)
	root, err := keysecret.ParseRoot(secret)
	if err != nil {
		t.Fatal(err)
	}
	l.put(t)(root.Sealer.EncodePolicy(l.options.keysNamespace, stepsies()))
	digest, pepper := root.Peppers.Sum([]byte(token))
	record := &apikey.Record{
		Digest: digest, Pepper: pepper, Serial: 1, State: apikey.Active, Environment: "live",
		Owner:  apikey.Ref{Namespace: "acme", Name: "ci", UID: "uid-ci"},
		Policy: apikey.Ref{Namespace: "platform", Name: "stepsies", UID: "uid-stepsies"},
	}
	l.put(t)(root.Sealer.EncodeRecord(l.options.keysNamespace, record))
	l.put(t)(secret, nil)
	return root, record
}

// ask asks about a request with the test's key.
func (l *life) ask(t *testing.T) *authv3.CheckResponse {
	t.Helper()
	out, err := l.checks.Check(t.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Path: "/me", Host: "api.stepsies.com", Headers: map[string]string{"authorization": "Bearer " + token},
		}},
	}})
	if err != nil {
		t.Error(err)
	}
	return out
}

// TestRun is the life of the program: not ready without a root Secret, then deciding,
// then drained.
func TestRun(t *testing.T) {
	l := begin(t)
	url := "http://" + l.log.field("listening", "admin")
	if out := l.ask(t); out.GetErrorResponse() == nil {
		t.Errorf("without a root Secret: %v", out)
	}
	if status, _ := get(t, url+"/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz without a root Secret: %d", status)
	}
	if status, _ := get(t, url+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d", status)
	}

	root, record := l.issue(t)
	until(t, "an allow", func() bool { return l.ask(t).GetOkResponse() != nil })
	if status, _ := get(t, url+"/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d", status)
	}
	record.State = apikey.Revoked
	revoked, err := root.Sealer.EncodeRecord(l.options.keysNamespace, record)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.kube.CoreV1().Secrets(l.options.keysNamespace).Update(t.Context(), revoked, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, "a denial", func() bool { return l.ask(t).GetDeniedResponse().GetStatus().GetCode() == 401 })
	_, metrics := get(t, url+"/metrics")
	if want := `keygate_decisions_total{detail="revoked",policy="platform/stepsies",reason="invalid_key"}`; !strings.Contains(metrics, want) {
		t.Errorf("no %s in the metrics", want)
	}
	if status, _ := get(t, url+"/debug/pprof/"); status != http.StatusNotFound {
		t.Errorf("profiles are served unasked: %d", status)
	}

	if err := l.end(); err != nil {
		t.Error(err)
	}
	if strings.Contains(l.log.String(), token) {
		t.Error("the token is in the log")
	}
}

// TestFirstCheckWaits: what is asked before the store is synced is answered when it is.
func TestFirstCheckWaits(t *testing.T) {
	l := begin(t, func(o *options) { o.syncWait = time.Minute }) // the machine may be slow
	first := make(chan *authv3.CheckResponse)
	go func() { first <- l.ask(t) }()
	l.issue(t)
	if out := <-first; out.GetOkResponse() == nil {
		t.Errorf("got %v", out)
	}
}

// TestAwaitSync: the wait ends with the sync, with the program, and by itself.
func TestAwaitSync(t *testing.T) {
	synced := new(atomic.Bool)
	for name, test := range map[string]struct {
		after func(end context.CancelFunc)
		want  time.Duration
	}{
		"synced": {func(context.CancelFunc) { synced.Store(true) }, time.Second},
		"ended":  {func(end context.CancelFunc) { end() }, time.Second},
		"never":  {func(context.CancelFunc) {}, defaultSyncWait},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				synced.Store(false)
				ctx, end := context.WithCancel(t.Context())
				defer end()
				time.AfterFunc(time.Second, func() { test.after(end) })
				begin := time.Now()
				awaitSync(ctx, synced.Load, defaultSyncWait)
				if took := time.Since(begin).Truncate(time.Second); took != test.want {
					t.Errorf("it took %s, want %s", took, test.want)
				}
			})
		})
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
