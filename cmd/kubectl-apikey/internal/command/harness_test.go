package command

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
	"keygate.dev/keygate/hack/testbin"
	"keygate.dev/keygate/pkg/authz"
	"keygate.dev/keygate/pkg/keystore"
	"keygate.dev/keygate/pkg/ratelimit"
	"keygate.dev/keygate/pkg/reconcile"
	"keygate.dev/keygate/test/apiserver"
)

// logged is what client-go logs, in this process by the commands and by Keygate.
var logged = &synced{}

func TestMain(m *testing.M) {
	crlog.SetLogger(logr.Discard())
	flags := flag.NewFlagSet("", flag.PanicOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"logtostderr": "false", "alsologtostderr": "false", "stderrthreshold": "FATAL"} {
		if err := flags.Set(name, value); err != nil {
			panic(err) // klog has other flags than it had
		}
	}
	klog.SetOutput(logged)
	apiserver.Main(m)
}

// patience bounds every wait of a test.
const patience = 30 * time.Second

// world is a cluster in which Keygate runs for real, but for Envoy: the controller and
// an extauthz, each with the rights that ship, and the policy of the Stepsies sample.
type world struct {
	testing.TB
	server *apiserver.Server
	admin  client.WithWatch
	// namespace is a tenant's, to which the policy grants read and write.
	namespace string
	// kubeconfig is the admin's.
	kubeconfig string
	// extauthz is its address.
	extauthz string
}

// sample is the policy of the tests.
const sample = "platform/stepsies"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := newCluster(t)
	w.runController()
	w.runExtauthz()
	w.applySample()
	return w
}

// newCluster is a world in which nothing of Keygate runs: tests that write status stand
// in for the controller.
func newCluster(t *testing.T) *world {
	t.Helper()
	server := apiserver.Start(t)
	scheme := runtime.NewScheme()
	must(t, clientgoscheme.AddToScheme(scheme))
	must(t, v1alpha1.AddToScheme(scheme))
	admin, err := client.NewWithWatch(server.Config, client.Options{Scheme: scheme})
	must(t, err)
	w := &world{TB: t, server: server, admin: admin}
	w.namespace = server.Namespace("tenant", map[string]string{"stepsies.com/api": "true"})
	w.kubeconfig = w.writeKubeconfig(server.Config)
	t.Cleanup(w.clear)
	return w
}

// clear deletes the APIKeys of a test: thousands that no controller ever saw would keep
// that of the next test from its own.
func (w *world) clear() {
	must(w.TB, w.admin.DeleteAllOf(context.Background(), &v1alpha1.APIKey{}, client.InNamespace(w.namespace)))
}

// background runs a part until the test ends.
func (w *world) background(part string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	w.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			w.Errorf("run %s: %v", part, err)
		}
	})
}

func (w *world) runController() {
	controller, err := reconcile.New(w.Context(), reconcile.Options{
		Config: w.server.Controller(), PolicyNamespaces: []string{reconcile.AllNamespaces}, Log: slog.New(slog.DiscardHandler),
	})
	must(w.TB, err)
	w.background("the controller", controller.Run)
}

func (w *world) runExtauthz() {
	config := w.server.Extauthz()
	kube, err := kubernetes.NewForConfig(config)
	must(w.TB, err)
	meta, err := metadata.NewForConfig(config)
	must(w.TB, err)
	log := slog.New(slog.DiscardHandler)
	store, err := keystore.New(keystore.Options{
		Client: kube, Metadata: meta, SystemNamespace: "keygate-system", KeysNamespace: "keygate-keys", CacheSize: 1000,
		RelistInterval: time.Hour, Log: log, Registerer: prometheus.NewRegistry(), Now: time.Now,
	})
	must(w.TB, err)
	server, err := authz.NewServer(authz.ServerOptions{
		Decider: &authz.Decider{
			Keys: store, Policies: store.Policies, Synced: store.Synced, Now: time.Now,
			Limiter: ratelimit.NewMemory(ratelimit.Options{MaxKeys: 100, Registerer: prometheus.NewRegistry()}),
		},
		Decisions: authz.LogNone, DrainTimeout: time.Second, Log: log, Registerer: prometheus.NewRegistry(),
	})
	must(w.TB, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(w.TB, err)
	w.extauthz = listener.Addr().String()
	w.background("the key store", store.Run)
	w.background("extauthz", func(ctx context.Context) error { return server.Serve(ctx, listener) })
	w.eventually(func() error {
		if !store.Synced() {
			return fmt.Errorf("the key store is not synced")
		}
		return nil
	})
}

// applySample applies the sample's policy and waits until it is in force.
func (w *world) applySample() {
	w.Helper()
	root, err := testbin.ModuleRoot()
	must(w.TB, err)
	data, err := os.ReadFile(filepath.Join(root, "config", "samples", "stepsies.yaml"))
	must(w.TB, err)
	for _, doc := range strings.Split(string(data), "\n---\n") {
		u := &unstructured.Unstructured{}
		must(w.TB, yaml.Unmarshal([]byte(doc), &u.Object))
		if u.GetKind() == "APIKey" {
			continue
		}
		must(w.TB, w.admin.Apply(w.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("test"), client.ForceOwnership))
	}
	w.eventually(func() error {
		p := &v1alpha1.APIKeyPolicy{}
		must(w.TB, w.admin.Get(w.Context(), client.ObjectKey{Namespace: "platform", Name: "stepsies"}, p))
		if !meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionAccepted) {
			return fmt.Errorf("the policy is not accepted: %+v", p.Status)
		}
		return nil
	})
}

// writeKubeconfig writes a kubeconfig for a user.
func (w *world) writeKubeconfig(config *rest.Config) string {
	w.Helper()
	file := clientcmdapi.NewConfig()
	file.Clusters["c"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	file.AuthInfos["u"] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken}
	file.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u", Namespace: w.namespace}
	file.CurrentContext = "x"
	path := filepath.Join(w.TempDir(), "kubeconfig")
	must(w.TB, clientcmd.WriteToFile(*file, path))
	return path
}

// ran is what a command did.
type ran struct {
	code     outcome.Code
	out, err string
}

// String is what a person sees.
func (r ran) String() string {
	return fmt.Sprintf("code %d\n--- standard output\n%s--- standard error\n%s", r.code, r.out, r.err)
}

// run runs a command line as the admin.
func (w *world) run(args ...string) ran { return w.runWith("", args...) }

// runWith runs a command line that reads in.
func (w *world) runWith(in string, args ...string) ran {
	return runLine(w.Context(), in, append(args, "--kubeconfig="+w.kubeconfig)...)
}

// runLine runs a command line.
func runLine(ctx context.Context, in string, args ...string) ran {
	var out, errOut synced
	code := Run(ctx, args, genericiooptions.IOStreams{In: strings.NewReader(in), Out: &out, ErrOut: &errOut})
	return ran{code, out.String(), errOut.String()}
}

// synced is a buffer that several goroutines may write.
type synced struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*synced)(nil)

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *synced) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// wants fails unless a command ended with a code and said all of these.
func (r ran) wants(t testing.TB, code outcome.Code, said ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("want code %d: %s", code, r)
	}
	for _, text := range said {
		if !strings.Contains(r.out+r.err, text) {
			t.Errorf("nothing says %q: %s", text, r)
		}
	}
}

func (w *world) eventually(check func() error) {
	w.Helper()
	var last error
	err := wait.PollUntilContextTimeout(w.Context(), 10*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		w.Fatal(last)
	}
}

// key reads an APIKey of the tenant.
func (w *world) key(name string) *v1alpha1.APIKey {
	w.Helper()
	key := &v1alpha1.APIKey{}
	must(w.TB, w.admin.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, key))
	return key
}

// secret reads a Secret of the tenant.
func (w *world) secret(name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	return secret, w.admin.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, secret)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// applySampleUnjudged applies a policy of the tenant where no controller runs.
func (w *world) applySampleUnjudged() {
	w.Helper()
	p := &v1alpha1.APIKeyPolicy{}
	p.Namespace, p.Name = w.namespace, "plain"
	p.Spec.Environments = []v1alpha1.Environment{{Name: "live", Prefix: "sk_"}}
	p.Spec.Rules = []v1alpha1.Rule{{Paths: []v1alpha1.PathPattern{"/{rest...}"}, AnyKey: true}}
	must(w.TB, w.admin.Create(w.Context(), p))
}
