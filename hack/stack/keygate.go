package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// accounts maps each component that has a service account to its name.
var accounts = map[string]string{"controller": "keygate-controller", "extauthz": "keygate-extauthz"}

const (
	systemNamespace = "keygate-system"
	// tokenLife outlives the stack; components read the file again when it changes.
	tokenLife = "8760h"
)

func (s *stack) controller() component {
	args := append([]string{
		"--kubeconfig=" + s.path("controller.kubeconfig"), "--admin-listen=" + s.address("controller-admin"), "--policy-namespaces=*",
	}, s.ControllerFlags...)
	admin := "http://" + flagValue(args, "admin-listen")
	return component{name: "controller", program: s.path("libexec", "controller"), args: args,
		alive: s.httpProbe(admin+"/healthz", "", ""), ready: s.httpProbe(admin+"/readyz", "", "")}
}

// extauthz is every replica.
func (s *stack) extauthz() []component {
	var replicas []component
	for i := range s.Replicas {
		args := s.extauthzArgs(i)
		admin := "http://" + flagValue(args, "admin-listen")
		replicas = append(replicas, component{name: replicaName(i), program: s.path("libexec", "extauthz"), args: args,
			alive: s.httpProbe(admin+"/healthz", "", ""), ready: s.httpProbe(admin+"/readyz", "", "")})
	}
	return replicas
}

func (s *stack) extauthzArgs(i int) []string {
	args := []string{
		"--kubeconfig=" + s.path("extauthz.kubeconfig"),
		"--listen=" + s.address(replicaName(i)), "--admin-listen=" + s.address(replicaName(i)+"-admin"),
	}
	if s.WithRedis {
		args = append(args, "--rate-limit-redis="+s.redisURL())
	}
	return append(args, s.ExtauthzFlags...)
}

// checkFlags refuses flags that several replicas cannot share.
func (c *config) checkFlags() error {
	for _, name := range []string{"listen", "admin-listen"} {
		if value := flagValue(c.ExtauthzFlags, name); value != "" && c.Replicas > 1 {
			return fmt.Errorf("EXTAUTHZ_FLAGS sets --%s=%s for %d replicas: only one can have it", name, value, c.Replicas)
		}
	}
	return nil
}

func (s *stack) upstream() component {
	healthy := s.httpProbe("http://"+s.address("upstream")+"/", "", "")
	return component{name: "upstream", program: s.path("libexec", "upstream"), args: []string{"--listen=" + s.address("upstream")},
		alive: healthy, ready: healthy}
}

// plugin is kubectl's plugin, by which `kubectl apikey` works.
const plugin = "kubectl-apikey"

// build builds the stack's own programs from the tree, and kubectl's plugin.
func (s *stack) build(ctx context.Context) error {
	say("building controller, extauthz, kubectl-apikey and the sample upstream")
	servers := []string{"./cmd/controller", "./cmd/extauthz", "./hack/stack/upstream"}
	if os.Getenv("STACK_RACE") != "" {
		servers = append([]string{"-race"}, servers...)
	}
	return errors.Join(s.buildInto(ctx, "libexec", servers...), s.buildInto(ctx, "bin", "./cmd/"+plugin))
}

// buildInto builds packages into a directory of the stack.
func (s *stack) buildInto(ctx context.Context, dir string, args ...string) error {
	args = append([]string{"build", "-o", s.path(dir) + string(os.PathSeparator)}, args...)
	out, err := s.command(ctx, "go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// giveIdentities writes a kubeconfig for each component that has a service account,
// with a token such as its pod would have.
func (s *stack) giveIdentities(ctx context.Context) error {
	for name, account := range accounts {
		token, err := s.kubectl(ctx, "create", "token", account, "--namespace="+systemNamespace, "--duration="+tokenLife)
		if err != nil {
			return err
		}
		file := s.path(name + ".token")
		if err := os.WriteFile(file, []byte(strings.TrimSpace(token)), 0o600); err != nil {
			return err
		}
		if err := s.writeKubeconfig(s.path(name+".kubeconfig"), fmt.Sprintf("tokenFile: %q", file)); err != nil {
			return err
		}
	}
	return nil
}
