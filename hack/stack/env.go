package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// writeEnv writes .stack/env for a shell to source.
func (s *stack) writeEnv() error {
	pids, err := s.running()
	if err != nil {
		return err
	}
	var text strings.Builder
	export := func(name, value string) { fmt.Fprintf(&text, "export %s=%s\n", name, quote(value)) }
	export("KUBECONFIG", s.path("admin.kubeconfig"))
	fmt.Fprintf(&text, "export PATH=%s:\"$PATH\"\n", quote(s.path("bin")))
	export("GATEWAY", "http://"+s.address("gateway"))
	export("GATEWAY_TLS", "https://"+s.address("gateway-tls"))
	export("GATEWAY_CA", s.pki("gateway-ca"))
	export("CONTROLLER_METRICS", "http://"+flagValue(s.controller().args, "admin-listen"))
	export("ENVOY_ADMIN", "http://"+s.address("envoy-admin"))
	export("UPSTREAM", "http://"+s.address("upstream"))
	if s.WithRedis {
		export("REDIS_URL", s.redisURL())
	}
	for i := range s.Replicas {
		args := s.extauthzArgs(i)
		suffix := strings.TrimPrefix(variable(replicaName(i)), "EXTAUTHZ")
		export("EXTAUTHZ"+suffix, flagValue(args, "listen"))
		export("METRICS"+suffix, "http://"+flagValue(args, "admin-listen"))
	}
	for _, tier := range s.tiers() {
		for _, c := range tier {
			if pid := pids[c.name]; pid != 0 {
				fmt.Fprintf(&text, "export PID_%s=%d\n", variable(c.name), pid)
			}
		}
	}
	partial := s.path("env.partial")
	if err := os.WriteFile(partial, []byte(text.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(partial, s.path("env"))
}

// variable is a component's name as part of a variable's: EXTAUTHZ_2.
func variable(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// quote quotes a word for a POSIX shell.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// linkKubectl puts kubectl where the env file's PATH finds it, and its plugin's
// completion under the name by which kubectl looks for that.
func (s *stack) linkKubectl() error {
	return errors.Join(
		os.Symlink(filepath.Join(s.Assets, "kubectl"), s.path("bin", "kubectl")),
		os.Symlink(plugin, s.path("bin", "kubectl_complete-apikey")),
	)
}
