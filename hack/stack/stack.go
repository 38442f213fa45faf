package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"keygate.dev/keygate/hack/testbin"
)

// stack is one stack: where it lives and how it was brought up.
type stack struct {
	root string // the module's directory
	dir  string // $STACK_DIR, or root/.stack
	config
}

// config is chosen by `up` and kept in .stack/config.json for the other commands.
type config struct {
	Assets          string         // directory of the Kubernetes programs
	Envoy           string         // path
	Ports           map[string]int // port name → loopback port
	Replicas        int            // of extauthz, at least 1
	ControllerFlags []string       // CONTROLLER_FLAGS
	ExtauthzFlags   []string       // EXTAUTHZ_FLAGS
	TrustedHops     string         // TRUSTED_HOPS: Envoy's xff_num_trusted_hops, with use_remote_address; "": neither
	CheckTimeout    string         // CHECK_TIMEOUT: how long Envoy waits for extauthz, in whole seconds such as 20s; "": defaultCheckTimeout
	Race            bool           // STACK_RACE: build Keygate with the race detector
	WithRedis       bool           // REDIS: extauthz counts in a Redis
	Redis           string         // path of redis-server, if WithRedis
}

// configFile holds the config; a directory that has it is a stack's.
const configFile = "config.json"

// maxReplicas bounds EXTAUTHZ_REPLICAS: a slip of the keyboard is not a fork bomb.
const maxReplicas = 16

// openStack finds the tree's stack, with its config if it was brought up before.
func openStack() (*stack, error) {
	root, err := testbin.ModuleRoot()
	if err != nil {
		return nil, err
	}
	s := &stack{root: root, dir: cmp.Or(os.Getenv("STACK_DIR"), filepath.Join(root, ".stack"))}
	data, err := os.ReadFile(s.path(configFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &s.config); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path(configFile), err)
	}
	return s, nil
}

// path is a path under .stack.
func (s *stack) path(elements ...string) string {
	return filepath.Join(append([]string{s.dir}, elements...)...)
}

// clear makes .stack an empty directory. It removes a stack's remains, and nothing
// else that STACK_DIR may have been pointed at.
func (s *stack) clear() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(s.path(configFile)); err != nil && len(entries) > 0 {
		return fmt.Errorf("%s holds something that is no stack: remove it first", s.dir)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return err
	}
	for _, dir := range []string{"", "bin", "libexec", "log", "pki", "etcd"} {
		if err := os.MkdirAll(s.path(dir), 0o700); err != nil {
			return err
		}
	}
	return s.saveConfig()
}

func (s *stack) saveConfig() error {
	data, err := json.MarshalIndent(s.config, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(s.path(configFile), data, 0o600)
}

// readEnvironment takes over the variables that the environment sets; those that
// it lacks keep their value.
func (c *config) readEnvironment() {
	if flags, set := os.LookupEnv("CONTROLLER_FLAGS"); set {
		c.ControllerFlags = strings.Fields(flags)
	}
	if flags, set := os.LookupEnv("EXTAUTHZ_FLAGS"); set {
		c.ExtauthzFlags = strings.Fields(flags)
	}
	if race, set := os.LookupEnv("STACK_RACE"); set {
		c.Race = race != "" && race != "0"
	}
}

// readShape takes over EXTAUTHZ_REPLICAS and REDIS, which say what components there
// are, TRUSTED_HOPS, which says what is before Envoy, and CHECK_TIMEOUT, if they are set.
func (c *config) readShape() error {
	if err := c.readCheckTimeout(); err != nil {
		return err
	}
	if hops, set := os.LookupEnv("TRUSTED_HOPS"); set {
		if _, err := strconv.ParseUint(hops, 10, 8); hops != "" && err != nil {
			return fmt.Errorf("TRUSTED_HOPS=%s: want a number", hops)
		}
		c.TrustedHops = hops
	}
	if redis, set := os.LookupEnv("REDIS"); set {
		c.WithRedis = redis != "" && redis != "0"
	}
	value := os.Getenv("EXTAUTHZ_REPLICAS")
	if value == "" {
		return nil
	}
	replicas, err := strconv.Atoi(value)
	if err != nil || replicas < 1 || replicas > maxReplicas {
		return fmt.Errorf("EXTAUTHZ_REPLICAS=%s: want a number from 1 to %d", value, maxReplicas)
	}
	c.Replicas = replicas
	return nil
}

// readCheckTimeout takes over CHECK_TIMEOUT, if it is set.
func (c *config) readCheckTimeout() error {
	timeout, set := os.LookupEnv("CHECK_TIMEOUT")
	if !set {
		return nil
	}
	seconds, whole := strings.CutSuffix(timeout, "s")
	if n, err := strconv.ParseUint(seconds, 10, 16); timeout != "" && (!whole || err != nil || n == 0) {
		return fmt.Errorf("CHECK_TIMEOUT=%s: want whole seconds, such as 20s", timeout)
	}
	c.CheckTimeout = timeout
	return nil
}

// address is the loopback host:port of a named port.
func (s *stack) address(port string) string {
	return "127.0.0.1:" + strconv.Itoa(s.Ports[port])
}
