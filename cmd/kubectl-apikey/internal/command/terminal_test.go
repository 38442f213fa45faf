package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
)

// terminal is a pseudo-terminal: what a person types is written to keyboard, what the
// terminal shows of it is in screen, and a command reads it from line.
type terminal struct {
	keyboard, line *os.File
	screen         *synced
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { _ = keyboard.Close() })
	must(t, unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	must(t, err)
	line, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err) // it is not closed: what a signal ended may still read it
	screen := &synced{}
	go func() { _, _ = io.Copy(screen, keyboard) }() // until it is closed
	return &terminal{keyboard, line, screen}
}

// echoes reports whether the terminal shows what is typed.
func (tty *terminal) echoes(t *testing.T) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.line.Fd()), unix.TCGETS)
	must(t, err)
	return state.Lflag&unix.ECHO != 0
}

// run runs a command at the terminal; its end is told on the channel.
func (tty *terminal) run(ctx context.Context, args ...string) (<-chan ran, *synced) {
	var out bytes.Buffer
	said, done := &synced{}, make(chan ran, 1)
	go func() {
		code := Run(ctx, args, genericiooptions.IOStreams{In: tty.line, Out: &out, ErrOut: said})
		done <- ran{code, out.String(), said.String()}
	}()
	return done, said
}

// TestPromptShowsNothing: a token that is typed is not shown, and the terminal is as it
// was after an answer as after a signal.
func TestPromptShowsNothing(t *testing.T) {
	w := newWorld(t)
	token := strings.TrimSpace(w.run("create", "ci", "--policy", sample, "--scopes", "read").out)
	w.becomes(token, outcome.Done, "yes")
	tty := newTerminal(t)
	silent := func() error {
		if tty.echoes(t) {
			return errors.New("the terminal shows what is typed")
		}
		return nil
	}
	done, _ := tty.run(t.Context(), "verify", "--extauthz", w.extauthz, "--kubeconfig", w.kubeconfig)
	w.eventually(silent)
	_, err := io.WriteString(tty.keyboard, token+"\n")
	must(t, err)
	(<-done).wants(t, outcome.Done, "Token (not shown): ", "yes", w.namespace+"/ci")
	if strings.Contains(tty.screen.String(), token) || !tty.echoes(t) {
		t.Errorf("the screen shows %q, and echoes: %v", tty.screen.String(), tty.echoes(t))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done, _ = tty.run(ctx, "verify", "--extauthz", w.extauthz, "--kubeconfig", w.kubeconfig)
	w.eventually(silent)
	cancel()
	(<-done).wants(t, outcome.Failed, "interrupted")
	if !tty.echoes(t) {
		t.Error("after a signal the terminal shows nothing any more")
	}
}

// TestRevokeAsks: a key is revoked only by who says yes.
func TestRevokeAsks(t *testing.T) {
	w := newCluster(t)
	w.run("create", "ci", "--policy", sample, "--wait=false").wants(t, outcome.Done)
	for _, tc := range []struct {
		answer string
		code   outcome.Code
		state  v1alpha1.KeyState
	}{
		{"\n", outcome.No, v1alpha1.StateActive}, {"n\n", outcome.No, v1alpha1.StateActive}, {"ye\n", outcome.No, v1alpha1.StateActive},
		{"YES\n", outcome.Done, v1alpha1.StateRevoked},
	} {
		tty := newTerminal(t)
		done, said := tty.run(t.Context(), "revoke", "ci", "--wait=false", "--kubeconfig", w.kubeconfig)
		w.eventually(func() error {
			if !strings.Contains(said.String(), "Revoke ci for good?") {
				return fmt.Errorf("asks %q", said.String())
			}
			return nil
		})
		_, err := io.WriteString(tty.keyboard, tc.answer)
		must(t, err)
		(<-done).wants(t, tc.code)
		if got := w.key("ci").Spec.State; got != tc.state {
			t.Errorf("after %q it is %s", tc.answer, got)
		}
	}
}
