// Package rig brings up what tests of the whole need: a stack on this machine, the
// objects on its API server or on another's, and more ways into the same APIs.
package rig

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"

	"keygate.dev/keygate/hack/testbin"
)

// Stack is a running stack of hack/stack, as its env file describes it.
type Stack struct {
	*Cluster
	// Dir is where it keeps its state.
	Dir string
	// Vars are the variables of its env file.
	Vars map[string]string
}

// Root is the root of the module that holds the test's package.
func Root() string {
	root, err := testbin.ModuleRoot()
	if err != nil {
		panic(err) // tests run in their package's directory: there is nothing to test
	}
	return root
}

// Up starts a stack in dir, with extra variables in its environment such as
// EXTAUTHZ_FLAGS. The stack is returned with an error too, for the caller to take
// down.
func Up(ctx context.Context, dir string, env ...string) (*Stack, error) {
	s := &Stack{Dir: dir}
	if err := s.Command(ctx, env, "up").Run(); err != nil {
		return s, err
	}
	return s, s.read()
}

// Down stops the stack.
func (s *Stack) Down() {
	if err := s.Command(context.Background(), nil, "down").Run(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the stack:", err)
	}
}

// Restart restarts one component and reads the new environment.
func (s *Stack) Restart(ctx context.Context, component string) error {
	if err := s.Command(ctx, nil, "restart", component).Run(); err != nil {
		return err
	}
	return s.read()
}

// Races are the reports of the race detector, which the components are built with.
func (s *Stack) Races() string {
	var reports strings.Builder
	logs, _ := filepath.Glob(filepath.Join(s.Dir, "log", "*.log")) // the pattern is sound
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

// Command is hack/stack with its state in the stack's directory. Envoy waits long for
// extauthz unless env says otherwise: a machine that runs all tests at once may be slow.
func (s *Stack) Command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", "./hack/stack"}, args...)...)
	cmd.Dir = Root()
	cmd.Env = append(append(os.Environ(), "STACK_DIR="+s.Dir, "STACK_RACE=1", "CHECK_TIMEOUT=20s"), env...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd
}

// Way is the way in through the stack's own Envoy.
func (s *Stack) Way() (*Way, error) {
	return NewWay(s.Vars["GATEWAY"], s.Vars["GATEWAY_TLS"], s.Vars["GATEWAY_CA"])
}

// read reads the env file and makes the clients.
func (s *Stack) read() error {
	var err error
	if s.Vars, err = readEnv(filepath.Join(s.Dir, "env")); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.Vars["KUBECONFIG"])
	if err != nil {
		return err
	}
	s.Cluster, err = NewCluster(config)
	return err
}

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
