// Command stack runs Keygate for real on one machine: etcd, kube-apiserver,
// kube-controller-manager, the controller, extauthz, Envoy and a sample upstream,
// as detached processes on loopback, with all that they write under .stack.
//
//	stack up              start everything and write .stack/env, to be sourced
//	stack restart NAME    restart one component and rewrite .stack/env
//	stack down            stop everything and remove .stack
//
// The controller and extauthz run under the service accounts of config/rbac and
// are handed no other credentials. From the environment: EXTAUTHZ_FLAGS and
// CONTROLLER_FLAGS, separated by blanks, come after the stack's own flags and so
// replace them; EXTAUTHZ_REPLICAS (default 1) sets how many extauthz share the load;
// REDIS=1 adds a Redis, in which they count the requests of keys together;
// TRUSTED_HOPS=1 puts a proxy before Envoy, whose x-forwarded-for it believes;
// CHECK_TIMEOUT=20s lets Envoy wait for extauthz that long (default 1s); STACK_DIR takes
// the place of .stack; STACK_RACE=1 builds with the race detector.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

const usage = "usage: stack up | down | restart NAME (" + componentNames + ")"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if runtime.GOOS != "linux" {
		return errors.New("the stack recognises its processes by /proc and so needs Linux")
	}
	s, err := openStack()
	if err != nil {
		return err
	}
	switch {
	case len(args) == 1 && args[0] == "up":
		return s.up(ctx)
	case len(args) == 1 && args[0] == "down":
		return s.down()
	case len(args) == 2 && args[0] == "restart":
		return s.restart(ctx, args[1])
	default:
		return errors.New(usage)
	}
}

// say tells the person at the terminal what happens.
func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }
