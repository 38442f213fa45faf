// Package apiserver gives tests a real kube-apiserver on a real etcd, with RBAC,
// Keygate's CRDs, its shipped roles and its admission policies in force, and the
// identities that the components have in a cluster. Nothing in it is faked:
// what a test sees refused is refused by the manifests that ship.
//
// There is no kube-controller-manager: nothing collects garbage, and a deleted
// namespace stays Terminating.
package apiserver

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// startLimit bounds a start, after the programs were prepared.
const startLimit = 2 * time.Minute

// Server is one test's handle on an API server.
type Server struct {
	// Config is cluster admin, by client certificate, without client-side rate limits.
	Config *rest.Config
	// DataDir is where etcd keeps its files.
	DataDir string

	tb    testing.TB
	plane *plane
	own   bool
}

// shared is the API server that the tests of one process share.
var shared struct {
	sync.Mutex
	plane   *plane
	holders int  // tests that hold a handle
	keep    bool // Main stops it, not the last holder
}

// Main runs a package's tests with one shared API server for all of them, started
// by the first Start and stopped after the last test:
//
//	func TestMain(m *testing.M) { apiserver.Main(m) }
//
// Without it the server stops as soon as no running test holds it.
func Main(m *testing.M) {
	shared.keep = true
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	detach := context.AfterFunc(ctx, func() {
		_ = stopShared()
		os.Exit(1)
	})
	defer detach() // before stop, which ends ctx too
	m.Run()
	if err := stopShared(); err != nil {
		_, _ = os.Stderr.WriteString("stop the API server: " + err.Error() + "\n")
	}
}

func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.plane == nil {
		return nil
	}
	defer func() { shared.plane = nil }()
	return shared.plane.stop()
}

// Start returns the process's shared API server, started when it does not run yet.
// Tests keep apart by namespaces of their own; see Namespace.
func Start(tb testing.TB) *Server {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.plane == nil {
		shared.plane = mustStart(tb)
	}
	shared.holders++
	tb.Cleanup(func() {
		shared.Lock()
		shared.holders--
		last := shared.holders == 0 && !shared.keep
		shared.Unlock()
		if last {
			if err := stopShared(); err != nil {
				tb.Errorf("stop the API server: %v", err)
			}
		}
	})
	return newServer(tb, shared.plane, false)
}

// StartOwn returns an API server that only this test uses, and may stop and
// restart. It takes some seconds more than Start.
func StartOwn(tb testing.TB) *Server {
	tb.Helper()
	p := mustStart(tb)
	tb.Cleanup(func() {
		if err := p.stop(); err != nil {
			tb.Errorf("stop the API server: %v", err)
		}
	})
	return newServer(tb, p, true)
}

func newServer(tb testing.TB, p *plane, own bool) *Server {
	return &Server{Config: rest.CopyConfig(p.admin), DataDir: p.dataDir(), tb: tb, plane: p, own: own}
}

func mustStart(tb testing.TB) *plane {
	tb.Helper()
	p, err := startPlane(context.Background())
	if err != nil {
		tb.Fatalf("start an API server: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := p.install(ctx); err != nil {
		tb.Fatalf("install Keygate on the API server: %v", errors.Join(err, p.stop()))
	}
	return p
}

// Stop stops kube-apiserver and leaves etcd running: an outage. Only for a server
// of StartOwn.
func (s *Server) Stop() {
	s.tb.Helper()
	s.mustOwn()
	if err := s.plane.stopAPIServer(); err != nil {
		s.tb.Fatalf("stop the API server: %v", err)
	}
}

// Restart starts kube-apiserver again after Stop, on the same data, port and
// certificates: every Config and token from before still works.
func (s *Server) Restart() {
	s.tb.Helper()
	s.mustOwn()
	if err := s.plane.startAPIServer(); err != nil {
		s.tb.Fatalf("restart the API server: %v", err)
	}
}

func (s *Server) mustOwn() {
	s.tb.Helper()
	if !s.own {
		s.tb.Fatal("other tests share this API server: use apiserver.StartOwn")
	}
}

// Namespace creates a namespace with a generated name that begins with prefix.
func (s *Server) Namespace(prefix string, labels map[string]string) string {
	s.tb.Helper()
	client, err := kubernetes.NewForConfig(s.Config)
	if err != nil {
		s.tb.Fatalf("make a client: %v", err)
	}
	namespace, err := client.CoreV1().Namespaces().Create(s.tb.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-", Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		s.tb.Fatalf("create a namespace: %v", err)
	}
	return namespace.Name
}
