// Command certs makes and renews the certificates of the connection between Envoy
// and extauthz: a certificate authority, the server's certificate and the clients',
// each in a Secret. It does what is due and ends; a Job and a CronJob run it.
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
		fmt.Fprintln(os.Stderr, "certs:", err)
		os.Exit(1)
	}
}
