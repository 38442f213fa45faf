package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"keygate.dev/keygate/hack/testbin"
)

// startLimit bounds how long one component may take to become ready.
const startLimit = 90 * time.Second

// up starts the stack and returns once requests through Envoy are decided. A stack
// that is up already stays as it is; the remains of one that died are removed.
func (s *stack) up(ctx context.Context) error {
	pids, err := s.running()
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		return s.alreadyUp(pids)
	}
	s.config = config{Replicas: 1}
	s.readEnvironment()
	if err := errors.Join(s.readShape(), s.checkFlags()); err != nil {
		return err
	}
	begin := time.Now()
	if err := s.bringUp(ctx); err != nil {
		say("up failed: stopping what was started; the logs stay in %s until the next up or down", s.path("log"))
		return errors.Join(err, s.stopAll())
	}
	say("the stack is up after %s; now: . %s", time.Since(begin).Round(100*time.Millisecond), s.path("env"))
	return nil
}

// alreadyUp succeeds if all components run, under the flags that are asked for now.
func (s *stack) alreadyUp(pids map[string]int) error {
	asked := s.config
	asked.readEnvironment()
	if err := asked.readShape(); err != nil {
		return err
	}
	if asked.Race != s.Race || asked.WithRedis != s.WithRedis || asked.Replicas != s.Replicas || asked.TrustedHops != s.TrustedHops || asked.CheckTimeout != s.CheckTimeout || !slices.Equal(asked.ControllerFlags, s.ControllerFlags) || !slices.Equal(asked.ExtauthzFlags, s.ExtauthzFlags) {
		return errors.New("the stack is up, with other flags: make down first")
	}
	for _, c := range slices.Concat(s.tiers()...) {
		if pids[c.name] == 0 {
			return fmt.Errorf("the stack is up, but for %s: make restart C=%s, or make down first", c.name, c.name)
		}
	}
	say("the stack is up already: . %s", s.path("env"))
	return s.writeEnv()
}

func (s *stack) bringUp(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	tiers := s.tiers()
	// Keygate's API is there before the garbage collector looks which kinds exist.
	if err := s.startTiers(ctx, tiers[:2]); err != nil {
		return err
	}
	if err := s.install(ctx); err != nil {
		return err
	}
	if err := s.giveIdentities(ctx); err != nil {
		return err
	}
	if err := s.startTiers(ctx, tiers[2:]); err != nil {
		return err
	}
	return s.writeEnv()
}

// prepare makes everything that is needed before the first process starts.
func (s *stack) prepare(ctx context.Context) error {
	var err error
	if s.Assets, err = testbin.KubeAssets(ctx); err != nil {
		return err
	}
	if s.Envoy, err = testbin.Envoy(ctx); err != nil {
		return err
	}
	if s.WithRedis {
		if s.Redis, err = testbin.Redis(ctx); err != nil {
			return err
		}
	}
	if err := s.clear(); err != nil {
		return err
	}
	if err := s.build(ctx); err != nil {
		return err
	}
	if s.Ports, err = freePorts(portNames(s.Replicas)); err != nil {
		return err
	}
	return errors.Join(s.saveConfig(), s.linkKubectl(), s.makeCertificates(), s.writeEncryption(), s.writeAuditPolicy(), s.writeBootstrap(),
		s.writeKubeconfig(s.path("admin.kubeconfig"), s.certificateUser("admin")),
		s.writeKubeconfig(s.path("controller-manager.kubeconfig"), s.certificateUser("controller-manager-client")))
}

// startTiers starts tier after tier, each one's components together.
func (s *stack) startTiers(ctx context.Context, tiers [][]component) error {
	for _, tier := range tiers {
		for _, c := range tier {
			say("starting %s", c.name)
			if err := s.start(c); err != nil {
				return err
			}
		}
		for _, c := range tier {
			if err := s.wait(ctx, c.name, c.ready, startLimit); err != nil {
				return err
			}
		}
	}
	return nil
}
