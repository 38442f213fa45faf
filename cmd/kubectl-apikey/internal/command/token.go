package command

import (
	"context"

	"github.com/spf13/cobra"

	"keygate.dev/keygate/api/v1alpha1"
)

func newToken(s *session) *cobra.Command {
	w, keepSecret := waiting{}, false
	cmd := &cobra.Command{
		Use:     "token NAME",
		GroupID: use,
		Short:   "Print the token that waits to be collected, and delete its Secret",
		Example: `  kubectl apikey token ci | pbcopy
  kubectl apikey token ci > key && chmod 600 key`,
		Args:              named("NAME"),
		ValidArgsFunction: completeKeys(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.token(cmd.Context(), args[0], w, keepSecret)
		},
	}
	w.add(cmd, "the key works")
	cmd.Flags().BoolVar(&keepSecret, "keep-secret", false, "leave the Secret where it is")
	return cmd
}

// token collects the token of an APIKey. A token is dead that was collected before its
// key worked, so that is waited for.
func (s *session) token(ctx context.Context, name string, w waiting, keepSecret bool) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	key, err := c.Key(ctx, name)
	if err != nil {
		return err
	}
	if w.wait {
		if key, err = w.ready(ctx, c, key, func(*v1alpha1.APIKey) bool { return true }); err != nil {
			return err
		}
	}
	return s.handOver(ctx, c, key, keepSecret)
}
