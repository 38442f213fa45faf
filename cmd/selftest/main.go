// Command selftest tries an installation: it makes a policy and a key, asks extauthz
// about requests with and without it, as Envoy would, revokes it, asks again, and
// removes what it made. It ends with 0 if every answer was the right one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"keygate.dev/keygate/cmd/internal/version"
)

func main() {
	if version.Asked(os.Args[1:], os.Stdout) {
		return
	}
	opts, err := parseFlags(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2) // the flag package has said why
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, opts); err != nil {
		fmt.Fprintln(os.Stderr, "selftest:", err)
		os.Exit(1)
	}
}
