package program

import (
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestMainOf: exit codes, and that a signal ends what runs.
func TestMainOf(t *testing.T) {
	args := os.Args
	t.Cleanup(func() { os.Args = args })
	os.Args = []string{"command"}
	parsed := func(err error) func([]string, io.Writer) (string, error) {
		return func([]string, io.Writer) (string, error) { return "options", err }
	}
	ends := func(err error) func(context.Context, string) error {
		return func(_ context.Context, o string) error {
			if o != "options" {
				t.Errorf("it runs with %q", o)
			}
			return err
		}
	}
	for name, tc := range map[string]struct {
		parse func([]string, io.Writer) (string, error)
		run   func(context.Context, string) error
		want  int
	}{
		"done":      {parsed(nil), ends(nil), done},
		"failed":    {parsed(nil), ends(errors.New("no")), failed},
		"bad flags": {parsed(errors.New("no")), nil, misuse},
		"help":      {parsed(flag.ErrHelp), nil, done},
		"a signal": {parsed(nil), func(ctx context.Context, _ string) error {
			if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(10 * time.Second):
				return errors.New("the signal was not heard")
			}
		}, done},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Main("command", tc.parse, tc.run); got != tc.want {
				t.Errorf("exit code %d, want %d", got, tc.want)
			}
		})
	}
	os.Args = []string{"command", "--version"}
	if got := Main("command", parsed(errors.New("flags were read")), nil); got != done {
		t.Errorf("--version: exit code %d", got)
	}
}
