package command

import (
	"context"

	"github.com/spf13/cobra"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/lifetime"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
	"keygate.dev/keygate/pkg/apikey"
)

// rotate is `kubectl apikey rotate`.
type rotate struct {
	*session
	overlap    string
	waiting    waiting
	dryRun     dryRun
	keepSecret bool
}

func newRotate(s *session) *cobra.Command {
	o := &rotate{session: s}
	cmd := &cobra.Command{
		Use:     "rotate NAME",
		GroupID: use,
		Short:   "Replace the token by a new one, and print that, once",
		Long: `Has a new token minted, waits until it works, and prints it as create does. The old
token works on for the APIKey's overlap (24h where it has none). --overlap changes that,
for later rotations too; --overlap 0s ends the old token at once.`,
		Example: `  kubectl apikey rotate ci
  kubectl apikey rotate ci --overlap 0s     # the old token leaked`,
		Args:              named("NAME"),
		ValidArgsFunction: completeKeys(s, 1),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	cmd.Flags().StringVar(&o.overlap, "overlap", "", "how long old tokens work on: 24h, 0s")
	o.waiting.add(cmd, "the new token works, and print it")
	o.dryRun.add(cmd)
	cmd.Flags().BoolVar(&o.keepSecret, "keep-secret", false, "leave the Secret where it is")
	return cmd
}

func (o *rotate) run(ctx context.Context, name string) error {
	if err := o.dryRun.check(); err != nil {
		return err
	}
	if _, err := length("--overlap", o.overlap); err != nil {
		return err
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	before, wanted := int64(0), int64(0)
	key, err := c.Edit(ctx, name, o.dryRun == dryRunServer, func(key *v1alpha1.APIKey) (map[string]any, error) {
		if err := rotatable(key); err != nil {
			return nil, err
		}
		before, wanted = newestSerial(key), requested(key)+1
		if o.dryRun == dryRunClient {
			return nil, nil
		}
		return map[string]any{"rotation": o.rotation(wanted)}, nil
	})
	if err != nil {
		return err
	}
	if o.dryRun != dryRunNone || !o.waiting.wait {
		o.say("apikey.keygate.dev/%s: spec.rotation.serial raised to %d%s", name, wanted, o.dryRun.suffix())
		return nil
	}
	if key, err = o.await(ctx, c, key, before); err != nil {
		return err
	}
	return o.handOver(ctx, c, key, o.keepSecret)
}

// await waits until a token above a serial is delivered, and works if the key is not
// suspended.
func (o *rotate) await(ctx context.Context, c *cluster.Cluster, key *v1alpha1.APIKey, before int64) (*v1alpha1.APIKey, error) {
	if key.Spec.State != v1alpha1.StateSuspended {
		return o.waiting.ready(ctx, c, key, func(key *v1alpha1.APIKey) bool { return above(key, before, apikey.Active) })
	}
	ctx, cancel := o.waiting.limit(ctx)
	defer cancel()
	key, err := c.Wait(ctx, key, func(key *v1alpha1.APIKey) (bool, error) { return above(key, before, apikey.Suspended), nil })
	return key, o.waiting.explain(key, err)
}

// rotation is what is merged into spec.rotation.
func (o *rotate) rotation(serial int64) map[string]any {
	rotation := map[string]any{"serial": serial}
	if overlap, err := lifetime.Parse(o.overlap); err == nil { // else it was not given
		rotation["overlap"] = overlap.String()
	}
	return rotation
}

// rotatable says why an APIKey can't be rotated.
func rotatable(key *v1alpha1.APIKey) error {
	switch {
	case key.Spec.SHA256 != "":
		return outcome.New(outcome.Refused, "register the new key as a second APIKey (`kubectl apikey create --sha256`), then revoke this one",
			"%s was made elsewhere: it is rotated there", key.Name)
	case key.Spec.State == v1alpha1.StateRevoked:
		return outcome.New(outcome.Refused, "create a new APIKey", "%s is revoked, for good", key.Name)
	}
	return nil
}

// requested is the rotation that an APIKey asks for.
func requested(key *v1alpha1.APIKey) int64 {
	if key.Spec.Rotation == nil {
		return 1
	}
	return max(key.Spec.Rotation.Serial, 1)
}

// newestSerial is the highest serial of an APIKey's tokens; 0: it has none.
func newestSerial(key *v1alpha1.APIKey) (newest int64) {
	for _, token := range key.Status.Keys {
		newest = max(newest, token.Serial)
	}
	return newest
}

// above reports whether a token above a serial has a state.
func above(key *v1alpha1.APIKey, serial int64, state apikey.State) bool {
	for _, token := range key.Status.Keys {
		if token.Serial > serial && token.State == string(state) {
			return true
		}
	}
	return false
}
