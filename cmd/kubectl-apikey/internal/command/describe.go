package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"keygate.dev/keygate/cmd/kubectl-apikey/internal/story"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/view"
)

func newDescribe(s *session) *cobra.Command {
	return &cobra.Command{
		Use:               "describe NAME...",
		GroupID:           look,
		Short:             "Show all there is to know of a key: its tokens, conditions and Events",
		Args:              someNames,
		ValidArgsFunction: completeKeys(s, 0),
		RunE:              func(cmd *cobra.Command, args []string) error { return s.describe(cmd.Context(), args) },
	}
}

// describe describes APIKeys, one after another.
func (s *session) describe(ctx context.Context, names []string) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	for i, name := range names {
		key, err := c.Key(ctx, name)
		if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(s.Out)
		}
		wanted := story.Wanted{Namespace: key.Namespace, Name: key.Name}
		events, err := c.Events(ctx, wanted)
		if err != nil { // what else there is to tell is worth telling
			s.say("warning: its Events can't be read: %v", err)
		}
		story.Sort(events)
		if err := view.Describe(s.Out, s.paint, key, events, s.now()); err != nil {
			return err
		}
	}
	return nil
}
