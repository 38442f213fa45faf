// Package gateways judges the ways in that are documented: for each, the manifest of
// config/gateways that its page tells to use, with nothing but addresses changed.
package gateways

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"keygate.dev/keygate/test/conformance"
	"keygate.dev/keygate/test/rig"
)

// stack is what all ways lead to: an API server, a controller and an upstream. Each
// way has an Envoy of its own, and an extauthz where that is part of it.
var stack *rig.Stack

func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, m)
	stop()
	os.Exit(code)
}

// run brings the stack up around the tests, and down however they end.
func run(ctx context.Context, m *testing.M) int {
	dir, err := os.MkdirTemp("", "keygate-gateways-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	stack, err = rig.Up(ctx, dir)
	defer stack.Down()
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the stack:", err)
		return 1
	}
	code := m.Run()
	if races := stack.Races(); races != "" {
		fmt.Fprintln(os.Stderr, races)
		return 1
	}
	return code
}

var (
	issueOnce sync.Once
	issued    conformance.Tokens
)

// tokens are those of the Stepsies table's keys, issued once.
func tokens(t *testing.T) conformance.Tokens {
	t.Helper()
	issueOnce.Do(func() { issued = conformance.Issue(t, stack.Cluster, conformance.Stepsies) })
	if issued == nil {
		t.Fatal("the keys could not be issued")
	}
	return issued
}

// socketAddress is a host:port, with or without http:// before it, as an Envoy
// configuration has it.
func socketAddress(t *testing.T, address string) string {
	t.Helper()
	host, port, found := strings.Cut(strings.TrimPrefix(address, "http://"), ":")
	if !found {
		t.Fatalf("%q is no host:port", address)
	}
	return fmt.Sprintf("{socket_address: {address: %s, port_value: %s}}", host, port)
}
