package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
)

// setState is `kubectl apikey suspend`, `resume`, and `revoke` of whole keys.
type setState struct {
	*session
	// state that is asked for, past what is said when it is there.
	state   v1alpha1.KeyState
	past    string
	waiting waiting
	dryRun  dryRun
}

func newSuspend(s *session) *cobra.Command {
	o := &setState{session: s, state: v1alpha1.StateSuspended, past: "suspended"}
	return o.command("suspend NAME...", "Turn callers away until the key is resumed", "callers are turned away")
}

func newResume(s *session) *cobra.Command {
	o := &setState{session: s, state: v1alpha1.StateActive, past: "resumed"}
	return o.command("resume NAME...", "Let callers in again with a suspended key", "callers are let in")
}

// command makes the command.
func (o *setState) command(line, short, until string) *cobra.Command {
	cmd := &cobra.Command{
		Use:               line,
		GroupID:           use,
		Short:             short,
		Args:              someNames,
		ValidArgsFunction: completeKeys(o.session, 0),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	o.waiting.add(cmd, until)
	o.dryRun.add(cmd)
	return cmd
}

// run sets the state of keys, one after another; the first failure ends it.
func (o *setState) run(ctx context.Context, names []string) error {
	if err := o.dryRun.check(); err != nil {
		return err
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := o.one(ctx, c, name); err != nil {
			return err
		}
	}
	return nil
}

// one sets the state of one key, and waits until the controller has.
func (o *setState) one(ctx context.Context, c *cluster.Cluster, name string) error {
	key, err := c.Edit(ctx, name, o.dryRun == dryRunServer, func(key *v1alpha1.APIKey) (map[string]any, error) {
		if key.Spec.State == v1alpha1.StateRevoked && o.state != v1alpha1.StateRevoked {
			return nil, outcome.New(outcome.Refused, "create a new APIKey", "%s is revoked, for good", name)
		}
		if o.dryRun == dryRunClient || key.Spec.State == o.state {
			return nil, nil
		}
		return map[string]any{"state": o.state}, nil
	})
	if err != nil {
		return err
	}
	if o.dryRun == dryRunNone && o.waiting.wait {
		if err := o.await(ctx, c, key); err != nil {
			return err
		}
	}
	fmt.Fprintf(o.Out, "apikey.keygate.dev/%s %s%s\n", name, o.past, o.dryRun.suffix())
	return nil
}

// await waits until the controller has judged the newest form of a key: what it then
// says is in the records that extauthz goes by.
func (o *setState) await(ctx context.Context, c *cluster.Cluster, key *v1alpha1.APIKey) error {
	if o.state == v1alpha1.StateActive {
		_, err := o.waiting.ready(ctx, c, key, func(*v1alpha1.APIKey) bool { return true })
		return err
	}
	ctx, cancel := o.waiting.limit(ctx)
	defer cancel()
	key, err := c.Wait(ctx, key, func(key *v1alpha1.APIKey) (bool, error) { return cluster.Ready(key) != nil, nil })
	return o.waiting.explain(key, err)
}
