package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/view"
	"keygate.dev/keygate/pkg/apikey"
)

// revoke is `kubectl apikey revoke`.
type revoke struct {
	setState
	old, yes bool
}

func newRevoke(s *session) *cobra.Command {
	o := &revoke{setState: setState{session: s, state: v1alpha1.StateRevoked, past: "revoked"}}
	cmd := o.command("revoke NAME...", "Turn callers away for good", "callers are turned away")
	cmd.Long = `Revokes keys: callers are turned away at once, with every token of theirs, and nothing
brings a revoked key back. With --old, only the tokens that a rotation left behind end.`
	cmd.Example = `  kubectl apikey revoke ci
  kubectl apikey revoke ci --old       # after a rotation: end the old token now`
	cmd.Flags().BoolVar(&o.old, "old", false, "end only the old tokens of a rotation; the newest works on")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) }
	return cmd
}

func (o *revoke) run(ctx context.Context, names []string) error {
	if err := o.dryRun.check(); err != nil {
		return err
	}
	question := fmt.Sprintf("Revoke %s for good? Callers are turned away at once, and nothing brings it back.", strings.Join(names, ", "))
	if o.old {
		question = fmt.Sprintf("End the old tokens of %s now? Whoever still calls with one is turned away.", strings.Join(names, ", "))
	}
	if o.dryRun == dryRunNone && !o.yes {
		if err := o.confirm(question); err != nil {
			return err
		}
	}
	if !o.old {
		return o.setState.run(ctx, names)
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := o.endOld(ctx, c, name); err != nil {
			return err
		}
	}
	return nil
}

// confirm asks at a terminal. Where nobody can answer, --yes has to be said.
func (o *revoke) confirm(question string) error {
	if !view.IsTerminal(o.In) {
		return usage("", "there is no terminal to ask at: add --yes")
	}
	fmt.Fprint(o.ErrOut, question+" [y/N] ")
	answer, err := bufio.NewReader(o.In).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return outcome.New(outcome.No, "", "nothing was done")
}

// endOld ends the tokens that have a successor: without an overlap they end at once, and
// for good. Then the APIKey's own overlap is put back, for later rotations.
func (o *revoke) endOld(ctx context.Context, c *cluster.Cluster, name string) error {
	var before any
	nothing := false
	key, err := c.Edit(ctx, name, o.dryRun == dryRunServer, func(key *v1alpha1.APIKey) (map[string]any, error) {
		before = overlapOf(key)
		if nothing = oldTokens(key) == 0; nothing || o.dryRun == dryRunClient {
			return nil, nil
		}
		return map[string]any{"rotation": map[string]any{"overlap": "0s"}}, nil
	})
	if err != nil {
		return err
	}
	if nothing {
		fmt.Fprintf(o.Out, "apikey.keygate.dev/%s has no old token that works\n", name)
		return nil
	}
	if o.dryRun == dryRunNone {
		if err := o.awaitEnd(ctx, c, key, before); err != nil {
			return err
		}
	}
	fmt.Fprintf(o.Out, "apikey.keygate.dev/%s: its old tokens ended%s\n", name, o.dryRun.suffix())
	return nil
}

// awaitEnd waits until no old token works, and puts the overlap back.
func (o *revoke) awaitEnd(ctx context.Context, c *cluster.Cluster, key *v1alpha1.APIKey, before any) error {
	limited, cancel := o.waiting.limit(ctx)
	defer cancel()
	key, err := c.Wait(limited, key, func(key *v1alpha1.APIKey) (bool, error) { return oldTokens(key) == 0, nil })
	if err != nil {
		return fmt.Errorf("spec.rotation.overlap is 0s now, until you set it back: %w", o.waiting.explain(key, err))
	}
	_, err = c.Edit(ctx, key.Name, false, func(*v1alpha1.APIKey) (map[string]any, error) {
		return map[string]any{"rotation": map[string]any{"overlap": before}}, nil
	})
	return err
}

// overlapOf is an APIKey's overlap as a patch has it; nil: it has none of its own.
func overlapOf(key *v1alpha1.APIKey) any {
	if key.Spec.Rotation == nil || key.Spec.Rotation.Overlap == nil {
		return nil
	}
	return key.Spec.Rotation.Overlap.Duration.String()
}

// oldTokens is how many tokens work, or are suspended, that have a successor which was
// delivered.
func oldTokens(key *v1alpha1.APIKey) (n int) {
	newest := int64(0)
	works := func(state string) bool { return state == string(apikey.Active) || state == string(apikey.Suspended) }
	for _, token := range key.Status.Keys {
		if works(token.State) {
			newest = max(newest, token.Serial)
		}
	}
	for _, token := range key.Status.Keys {
		if works(token.State) && token.Serial < newest {
			n++
		}
	}
	return n
}
