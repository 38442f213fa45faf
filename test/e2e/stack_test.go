// Package e2e judges what callers and tenants see: the whole of Keygate on one
// machine (etcd, API server, controller, extauthz, Envoy, an upstream), each
// component under the rights that ship, and requests through the real Envoy.
package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// patience bounds every wait in these tests.
const patience = 60 * time.Second

// stack is a running stack, as its env file describes it.
type stack struct {
	dir  string
	vars map[string]string

	config  *rest.Config
	kube    *kubernetes.Clientset
	dynamic *dynamic.DynamicClient
	// gateway is Envoy, which load goes on to while a component is restarted.
	gateway atomic.Pointer[gateway]
}

// gateway is Envoy's two listeners, each with a client: HTTP/1.1, and HTTP/2 over TLS.
type gateway struct {
	plain, secure       *http.Client
	plainURL, secureURL string
}

// shared is the stack that all tests but the destructive ones use.
var shared *stack

func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, m)
	stop()
	os.Exit(code)
}

// run brings the shared stack up around the tests, and down however they end.
func run(ctx context.Context, m *testing.M) int {
	dir, err := os.MkdirTemp("", "keygate-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	shared, err = up(ctx, dir)
	if shared != nil {
		defer shared.down()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the stack:", err)
		return 1
	}
	code := m.Run()
	if races := shared.races(); races != "" {
		fmt.Fprintln(os.Stderr, races)
		return 1
	}
	return code
}

// repository is the root of the module that holds this package.
func repository() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err) // there is no working directory: nothing can be tested
	}
	return dir
}

// stackCommand is hack/stack with its state in dir.
func stackCommand(ctx context.Context, dir string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", "./hack/stack"}, args...)...)
	cmd.Dir = repository()
	cmd.Env = append(append(os.Environ(), "STACK_DIR="+dir, "STACK_RACE=1"), env...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd
}

// up starts a stack in dir, with extra variables in its environment such as
// EXTAUTHZ_FLAGS. The stack is returned with an error too, for the caller to take
// down.
func up(ctx context.Context, dir string, env ...string) (*stack, error) {
	s := &stack{dir: dir}
	if err := stackCommand(ctx, dir, env, "up").Run(); err != nil {
		return s, err
	}
	return s, s.connect()
}

// start starts a stack for one test alone.
func start(t *testing.T, env ...string) *stack {
	t.Helper()
	s, err := up(t.Context(), t.TempDir(), env...)
	t.Cleanup(func() {
		if races := s.races(); races != "" {
			t.Error(races)
		}
		s.down()
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stack) down() {
	if err := stackCommand(context.Background(), s.dir, nil, "down").Run(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the stack:", err)
	}
}

// races are the reports of the race detector, which the components are built with.
func (s *stack) races() string {
	var reports strings.Builder
	logs, _ := filepath.Glob(filepath.Join(s.dir, "log", "*.log")) // the pattern is sound
	for _, path := range logs {
		log, err := os.ReadFile(path)
		if err != nil {
			continue // rotated
		}
		if _, report, found := strings.Cut(string(log), "WARNING: DATA RACE"); found {
			fmt.Fprintf(&reports, "%s: DATA RACE%.3000s\n", path, report)
		}
	}
	return reports.String()
}

// restart restarts one component and reads the new environment.
func (s *stack) restart(t *testing.T, component string) {
	t.Helper()
	if err := stackCommand(t.Context(), s.dir, nil, "restart", component).Run(); err != nil {
		t.Fatalf("restart %s: %v", component, err)
	}
	if err := s.connect(); err != nil {
		t.Fatal(err)
	}
}

// connect reads the env file and makes the clients.
func (s *stack) connect() error {
	var err error
	if s.vars, err = readEnv(filepath.Join(s.dir, "env")); err != nil {
		return err
	}
	if s.config, err = clientcmd.BuildConfigFromFlags("", s.vars["KUBECONFIG"]); err != nil {
		return err
	}
	s.config.QPS, s.config.Burst = -1, 0
	if s.kube, err = kubernetes.NewForConfig(s.config); err != nil {
		return err
	}
	if s.dynamic, err = dynamic.NewForConfig(s.config); err != nil {
		return err
	}
	ca, err := os.ReadFile(s.vars["GATEWAY_CA"])
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return fmt.Errorf("no certificate in %s", s.vars["GATEWAY_CA"])
	}
	s.gateway.Store(&gateway{
		plain: &http.Client{Timeout: patience, CheckRedirect: noRedirects, Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
		secure: &http.Client{Timeout: patience, CheckRedirect: noRedirects, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
		}},
		plainURL:  s.vars["GATEWAY"],
		secureURL: s.vars["GATEWAY_TLS"],
	})
	return nil
}

// noRedirects shows redirects instead of following them.
func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// readEnv reads lines of "export NAME=value", the values perhaps quoted.
func readEnv(path string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	vars := map[string]string{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := strings.TrimPrefix(strings.TrimSpace(lines.Text()), "export ")
		if name, value, found := strings.Cut(line, "="); found && !strings.HasPrefix(line, "#") {
			vars[name] = strings.Trim(value, `"'`)
		}
	}
	return vars, nil
}

// pid is the process of a component, such as EXTAUTHZ.
func (s *stack) pid(t *testing.T, component string) int {
	t.Helper()
	var pid int
	if _, err := fmt.Sscan(s.vars["PID_"+component], &pid); err != nil {
		t.Fatalf("PID_%s=%q: %v", component, s.vars["PID_"+component], err)
	}
	return pid
}
