// Command controller turns APIKeys and APIKeyPolicies into sealed records, and
// hands each token over once.
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
	"keygate.dev/keygate/pkg/scrub"
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
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, opts); err != nil {
		fmt.Fprintln(os.Stderr, "controller:", scrub.Error(err))
		os.Exit(1)
	}
}
