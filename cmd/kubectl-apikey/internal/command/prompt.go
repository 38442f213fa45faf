package command

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"keygate.dev/keygate/cmd/kubectl-apikey/internal/view"
	"keygate.dev/keygate/pkg/apikey"
)

// readToken reads a token: at a prompt that shows nothing where standard input is a
// terminal, else all of it, less the line's end.
func (s *session) readToken(ctx context.Context) ([]byte, error) {
	var text []byte
	var err error
	if view.IsTerminal(s.In) {
		text, err = s.promptToken(ctx, s.In.(*os.File))
	} else {
		text, err = io.ReadAll(io.LimitReader(s.In, apikey.MaxTokenLength+16))
	}
	if err != nil {
		return nil, fmt.Errorf("read the token: %w", err)
	}
	token := bytes.TrimSpace(text)
	switch {
	case len(token) == 0:
		return nil, usage("give it on standard input, as in `kubectl apikey verify < file`", "there is no token")
	case apikey.CheckToken(token) != nil:
		return nil, usage("give the token alone, without a header's name or scheme", "this can't be a key: 1 to 512 letters, digits and -._~+/ make one")
	}
	return token, nil
}

// promptToken asks for a token; what is typed is not shown. A signal gives the terminal
// back as it was.
func (s *session) promptToken(ctx context.Context, terminal *os.File) ([]byte, error) {
	before, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		return nil, err
	}
	fmt.Fprint(s.ErrOut, "Token (not shown): ")
	type typed struct {
		text []byte
		err  error
	}
	done := make(chan typed, 1)
	go func() {
		text, err := term.ReadPassword(int(terminal.Fd()))
		done <- typed{text, err}
	}()
	defer fmt.Fprintln(s.ErrOut)
	select {
	case t := <-done:
		return t.text, t.err
	case <-ctx.Done():
		_ = term.Restore(int(terminal.Fd()), before) // nothing else can be done about it
		return nil, ctx.Err()
	}
}
