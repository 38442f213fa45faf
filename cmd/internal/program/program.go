// Package program is what all commands have in common: flags, then options, then run,
// until a signal ends it.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"keygate.dev/keygate/cmd/internal/version"
	"keygate.dev/keygate/pkg/scrub"
)

// Exit codes.
const (
	done   = 0
	failed = 1
	misuse = 2
)

// Main runs a command and returns its exit code: 0, 1 where run failed, and 2 where the
// flags can't be read, of which parse has told. The first SIGINT or SIGTERM ends run's
// context, a second one the process. What is told of a failure has no digest in it.
func Main[Options any](name string, parse func(args []string, output io.Writer) (Options, error), run func(context.Context, Options) error) int {
	if version.Asked(os.Args[1:], os.Stdout) {
		return done
	}
	options, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return done
	}
	if err != nil {
		return misuse
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := run(ctx, options); err != nil {
		fmt.Fprintln(os.Stderr, name+":", scrub.Error(err))
		return failed
	}
	return done
}
