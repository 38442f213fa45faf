package main

import (
	"context"
	"errors"
	"slices"
	"time"
)

// readyLimit bounds how long a restart waits until a component that serves is
// ready: without an API server it never is, which may be what one wants to see.
const readyLimit = 20 * time.Second

// restart restarts a component, with flags from the environment if it sets any,
// Keygate's own from the tree as it is now. Replicas restart one after another.
func (s *stack) restart(ctx context.Context, name string) error {
	if len(s.Ports) == 0 {
		return errors.New("the stack is not up: make up")
	}
	s.readEnvironment()
	if err := s.checkFlags(); err != nil {
		return err
	}
	components, err := s.find(name)
	if err != nil {
		return err
	}
	before := s.bootstrapped()
	if err := s.build(ctx); err != nil {
		return err
	}
	if err := errors.Join(s.saveConfig(), s.writeBootstrap()); err != nil {
		return err
	}
	if s.bootstrapped() != before && name != "envoy" { // extauthz listens elsewhere now
		components = append(components, s.envoy())
	}
	for _, c := range components {
		if err := s.restartOne(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (s *stack) restartOne(ctx context.Context, c component) error {
	pids, err := s.running()
	if err != nil {
		return err
	}
	if pid := pids[c.name]; pid != 0 {
		say("stopping %s", c.name)
		if err := s.stop(map[string]int{c.name: pid}); err != nil {
			return err
		}
	}
	say("starting %s", c.name)
	if err := s.start(c); err != nil {
		return err
	}
	if err := errors.Join(s.writeEnv(), s.wait(ctx, c.name, c.alive, startLimit)); err != nil {
		return err
	}
	if _, up := pids["apiserver"]; !up && !slices.Contains([]string{"etcd", "apiserver"}, c.name) {
		say("%s serves; the API server is down, so it is not waited for to be ready", c.name)
		return nil
	}
	switch err := s.wait(ctx, c.name, c.ready, readyLimit); {
	case errors.Is(err, errDied) || ctx.Err() != nil:
		return err
	case err != nil:
		say("%s serves, but is not ready after %s: see %s", c.name, readyLimit, s.logPath(c.name))
	default:
		say("%s is ready", c.name)
	}
	if isReplica(c.name) && pids["envoy"] != 0 { // Envoy connects anew
		return s.wait(ctx, "envoy", s.decided, readyLimit)
	}
	return nil
}
