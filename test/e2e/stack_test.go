// Package e2e judges what callers and tenants see: the whole of Keygate on one
// machine (etcd, API server, controller, extauthz, Envoy, an upstream), each
// component under the rights that ship, and requests through the real Envoy.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"keygate.dev/keygate/test/rig"
)

// patience bounds every wait in these tests.
const patience = rig.Patience

// stack is a running stack, as its env file describes it.
type stack struct {
	dir     string
	running *rig.Stack
	vars    map[string]string

	config  *rest.Config
	kube    *kubernetes.Clientset
	dynamic *dynamic.DynamicClient
	// gateway is Envoy, which load goes on to while a component is restarted.
	gateway atomic.Pointer[rig.Way]
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
	if bad := shared.races() + shared.trespasses(); bad != "" {
		fmt.Fprintln(os.Stderr, bad)
		return 1
	}
	return code
}

// stackCommand is hack/stack with its state in dir.
func stackCommand(ctx context.Context, dir string, env []string, args ...string) *exec.Cmd {
	return (&rig.Stack{Dir: dir}).Command(ctx, env, args...)
}

// up starts a stack in dir, with extra variables in its environment such as
// EXTAUTHZ_FLAGS. The stack is returned with an error too, for the caller to take
// down.
func up(ctx context.Context, dir string, env ...string) (*stack, error) {
	running, err := rig.Up(ctx, dir, env...)
	s := &stack{dir: dir, running: running}
	if err != nil {
		return s, err
	}
	return s, s.connect()
}

// start starts a stack for one test alone.
func start(t *testing.T, env ...string) *stack {
	t.Helper()
	s, err := up(t.Context(), t.TempDir(), env...)
	t.Cleanup(func() {
		if bad := s.races() + s.trespasses(); bad != "" {
			t.Error(bad)
		}
		s.down()
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stack) down() { s.running.Down() }

// races are the reports of the race detector, which the components are built with.
func (s *stack) races() string { return s.running.Races() }

// restart restarts one component and reads the new environment.
func (s *stack) restart(t *testing.T, component string) {
	t.Helper()
	if err := s.running.Restart(t.Context(), component); err != nil {
		t.Fatalf("restart %s: %v", component, err)
	}
	if err := s.connect(); err != nil {
		t.Fatal(err)
	}
}

// connect takes over the environment and the clients.
func (s *stack) connect() error {
	way, err := s.running.Way()
	if err != nil {
		return err
	}
	s.vars, s.config, s.kube, s.dynamic = s.running.Vars, s.running.Config, s.running.Kube, s.running.Dynamic
	s.gateway.Store(way)
	return nil
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
