package keystore

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/test/apiserver"
)

func TestMain(m *testing.M) { apiserver.Main(m) }

// cluster is two namespaces of a real API server, written to as the controller
// would.
type cluster struct {
	tb     testing.TB
	admin  kubernetes.Interface
	config *rest.Config
	system string
	keys   string
	root   *keysecret.Root
}

// newCluster makes namespaces on the shared API server, with a root Secret.
func newCluster(tb testing.TB) *cluster { return newClusterOn(tb, apiserver.Start(tb)) }

func newClusterOn(tb testing.TB, server *apiserver.Server) *cluster {
	tb.Helper()
	admin, err := kubernetes.NewForConfig(server.Config)
	if err != nil {
		tb.Fatal(err)
	}
	c := &cluster{tb: tb, admin: admin, config: server.Config,
		system: server.Namespace("system", nil), keys: server.Namespace("keys", nil)}
	c.makeRoot()
	return c
}

// makeRoot makes the root Secret.
func (c *cluster) makeRoot() {
	c.tb.Helper()
	secret := keysecret.NewRootSecret(c.system)
	c.create(secret)
	c.setRoot(secret)
}

// setRoot makes the cluster seal with what a root Secret holds.
func (c *cluster) setRoot(secret *corev1.Secret) {
	c.tb.Helper()
	root, err := keysecret.ParseRoot(secret)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.root = root
}

func (c *cluster) create(secret *corev1.Secret) *corev1.Secret {
	c.tb.Helper()
	created, err := c.admin.CoreV1().Secrets(secret.Namespace).Create(context.Background(), secret, metav1.CreateOptions{})
	if err != nil {
		c.tb.Fatal(err)
	}
	return created
}

func (c *cluster) update(secret *corev1.Secret) *corev1.Secret {
	c.tb.Helper()
	updated, err := c.admin.CoreV1().Secrets(secret.Namespace).Update(context.Background(), secret, metav1.UpdateOptions{})
	if err != nil {
		c.tb.Fatal(err)
	}
	return updated
}

func (c *cluster) delete(name string) {
	c.tb.Helper()
	if err := c.admin.CoreV1().Secrets(c.keys).Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
		c.tb.Fatal(err)
	}
}

// secret is the Secret of a record in some state.
func (c *cluster) secret(d apikey.Digest, state apikey.State) *corev1.Secret {
	c.tb.Helper()
	r := record(d)
	r.State = state
	secret, err := c.root.Sealer.EncodeRecord(c.keys, r)
	if err != nil {
		c.tb.Fatal(err)
	}
	return secret
}

// policySecret is the Secret of an accepted policy.
func (c *cluster) policySecret(name, uid, host string) *corev1.Secret {
	c.tb.Helper()
	secret, err := c.root.Sealer.EncodePolicy(c.keys, source(name, uid, host))
	if err != nil {
		c.tb.Fatal(err)
	}
	return secret
}

// issue makes many active records, the n-th of digest(n).
func (c *cluster) issue(from, to int) {
	c.tb.Helper()
	var writers sync.WaitGroup
	for worker := range 8 {
		writers.Go(func() {
			for n := from + worker; n < to; n += 8 {
				if _, err := c.admin.CoreV1().Secrets(c.keys).Create(context.Background(), c.secret(digest(n), apikey.Active), metav1.CreateOptions{}); err != nil {
					c.tb.Error(err)
				}
			}
		})
	}
	writers.Wait()
}

// running is a Store that is fed from a cluster.
type running struct {
	*Store
	line *line
	log  *logBuffer
	// stop ends Run and returns when it has returned.
	stop func()
}

// run runs a Store on the cluster until the test ends. adjust may change the
// Store before it runs.
func (c *cluster) run(o Options, adjust ...func(*Store)) *running {
	c.tb.Helper()
	r := &running{line: &line{}, log: &logBuffer{}}
	config := rest.CopyConfig(c.config)
	config.Wrap(r.line.wrap)
	var err error
	if o.Client, err = kubernetes.NewForConfig(config); err != nil {
		c.tb.Fatal(err)
	}
	if o.Metadata, err = metadata.NewForConfig(config); err != nil {
		c.tb.Fatal(err)
	}
	o.SystemNamespace, o.KeysNamespace = c.system, c.keys
	o.Log = slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.Registerer = prometheus.NewRegistry()
	if r.Store, err = New(o); err != nil {
		c.tb.Fatal(err)
	}
	for _, change := range adjust {
		change(r.Store)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			c.tb.Errorf("Run: %v", err)
		}
	})
	c.tb.Cleanup(func() {
		r.stop()
		if c.tb.Failed() {
			c.tb.Logf("the store's log:\n%s", r.log)
		}
	})
	return r
}

// runSynced is run, and waits until the Store is synced.
func (c *cluster) runSynced(o Options, adjust ...func(*Store)) *running {
	c.tb.Helper()
	r := c.run(o, adjust...)
	eventually(c.tb, "the store is synced", r.Synced)
	return r
}

// eventually waits until a condition holds.
func eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	err := wait.PollUntilContextTimeout(context.Background(), 5*time.Millisecond, 30*time.Second, true,
		func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		tb.Fatalf("in vain waited until %s", what)
	}
}

// becomes waits until a digest's look-up gives an answer.
func (r *running) becomes(tb testing.TB, d apikey.Digest, want string) {
	tb.Helper()
	eventually(tb, "the look-up of key "+d.ID()+" says "+want, func() bool { return lookup(tb, r.Store, d) == want })
}

// barrier waits until everything written before is known, by one more record.
func (r *running) barrier(c *cluster, d apikey.Digest) {
	c.tb.Helper()
	c.create(c.secret(d, apikey.Active))
	eventually(c.tb, "the watch has caught up", func() bool { return r.feed.index.version(d) != 0 })
}

// line is the way to the API server, which can be cut and listened to.
type line struct {
	mu       sync.Mutex
	down     bool
	requests []string                           // method and URL
	open     map[io.Closer]bool                 // bodies of answers
	answer   func(*http.Request) *http.Response // in place of the API server's, unless nil
}

func (l *line) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		l.mu.Lock()
		l.requests = append(l.requests, r.Method+" "+r.URL.String())
		down, answer := l.down, l.answer
		l.mu.Unlock()
		if down {
			return nil, syscall.ECONNREFUSED
		}
		if answer != nil {
			if response := answer(r); response != nil {
				return response, nil
			}
		}
		response, err := next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		body := response.Body
		if l.down {
			_ = body.Close()
			return nil, syscall.ECONNREFUSED
		}
		if l.open == nil {
			l.open = map[io.Closer]bool{}
		}
		l.open[body] = true
		response.Body = &conduit{l, body}
		return response, nil
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// conduit is the body of an answer. Cut off, it ends as if the API server had
// ended it: what a watch does not take for an error.
type conduit struct {
	line *line
	io.ReadCloser
}

func (c *conduit) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.line.mu.Lock()
	defer c.line.mu.Unlock()
	if c.line.down && err != nil {
		err = io.EOF
	}
	return n, err
}

func (c *conduit) Close() error {
	c.line.mu.Lock()
	delete(c.line.open, c.ReadCloser)
	c.line.mu.Unlock()
	return c.ReadCloser.Close()
}

// cut breaks every connection and refuses new ones.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for body := range l.open {
		_ = body.Close()
	}
}

// mend lets everything pass again.
func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down, l.answer = false, nil
}

// intercept answers in place of the API server wherever answer does not return nil.
func (l *line) intercept(answer func(*http.Request) *http.Response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer = answer
}

// seen are the requests so far whose method and URL contain all parts.
func (l *line) seen(parts ...string) (requests []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, request := range l.requests {
		matches := true
		for _, part := range parts {
			matches = matches && strings.Contains(request, part)
		}
		if matches {
			requests = append(requests, request)
		}
	}
	return requests
}

// status is an answer with a Status of the API server.
func status(err interface{ Status() metav1.Status }) *http.Response {
	s := err.Status()
	s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	body, _ := json.Marshal(s) // of plain members only
	return &http.Response{
		StatusCode: int(s.Code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
	}
}
