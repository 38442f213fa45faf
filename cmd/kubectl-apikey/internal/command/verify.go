package command

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"keygate.dev/keygate/cmd/kubectl-apikey/internal/checker"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/lifetime"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/view"
	"keygate.dev/keygate/pkg/policy"
)

// verify is `kubectl apikey verify`.
type verify struct {
	*session
	policy   string
	extauthz extauthzFlags
}

func newVerify(s *session) *cobra.Command {
	o := &verify{session: s}
	cmd := &cobra.Command{
		Use:     "verify",
		GroupID: look,
		Short:   "Find out whose a token is, whether it is valid, and what it may do",
		Long: `Asks a running extauthz about a token, which is read from standard input, or at a prompt
that shows nothing. It is never an argument: those are in the shell's history and in the
list of processes.

The request that is asked about is one that costs the key nothing, where the policy has
such a route; else it counts as one request against the key's limits.`,
		Example: `  kubectl apikey verify                  # asks for the token
  kubectl apikey verify < token-from-a-log
  pbpaste | kubectl apikey verify --policy platform/stepsies`,
		Args:              noToken,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&o.policy, "policy", "", "policy to ask: NAME or NAMESPACE/NAME (default: found by the token's prefix)")
	_ = cmd.RegisterFlagCompletionFunc("policy", completePolicies(s))
	o.extauthz.add(cmd)
	return cmd
}

// noToken refuses a token on the command line, and does not repeat it.
func noToken(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage("if that was a real one, replace it: `kubectl apikey rotate NAME --overlap 0s`; then give the token on standard input, or at the prompt",
		"a token is no argument: this one is now in your shell's history, and was in the list of processes")
}

func (o *verify) run(ctx context.Context) error {
	if err := o.extauthz.check(); err != nil {
		return err
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	token, err := o.readToken(ctx)
	if err != nil {
		return err
	}
	defer clear(token)
	candidates, err := o.candidates(ctx, c, token)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.extauthz.timeout)
	defer cancel()
	conn, err := o.extauthz.dial(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close()
	found, answer, err := o.ask(ctx, c, conn, candidates, token)
	if err != nil {
		return err
	}
	return o.tell(ctx, c, found, answer)
}

// tell prints what was found out.
func (o *verify) tell(ctx context.Context, c *cluster.Cluster, of *candidate, a *checker.Answer) error {
	if !a.Valid() && (policy.Reason(a.Reason) == policy.Unavailable || policy.Reason(a.Reason) == policy.NoPolicy) {
		return outcome.New(outcome.Failed, "see its log, and /readyz", "extauthz can't tell now: %s %s", a.Reason, a.Detail)
	}
	tabs := tabwriter.NewWriter(o.Out, 0, 8, 2, ' ', 0)
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(tabs, "%s:\t%s\n", name, value)
		}
	}
	valid, colour := "yes", view.Good
	if !a.Valid() {
		valid, colour = "no, "+whyNot(a), view.Bad
	}
	field("Valid", o.paint.Word(colour, valid))
	field("Key", a.KeyID)
	if a.Known() {
		field("APIKey", a.Namespace+"/"+a.Name)
		field("Policy", a.Policy)
		field("Environment", a.Environment)
		field("Scopes", strings.Join(a.Scopes, ","))
		field("Plan", a.Plan)
		o.tellKey(ctx, c, a, field)
	}
	if a.Valid() {
		o.tellRoutes(tabs, of, a)
	}
	if err := tabs.Flush(); err != nil {
		return err
	}
	if !a.Valid() {
		return outcome.Quiet(outcome.No)
	}
	return nil
}

// tellKey tells what only the APIKey knows, if the user may read it.
func (o *verify) tellKey(ctx context.Context, c *cluster.Cluster, a *checker.Answer, field func(name, value string)) {
	key, err := c.KeyIn(ctx, a.Namespace, a.Name)
	if err != nil {
		field("State", "not yours to read")
		return
	}
	state, colour := view.State(key)
	field("State", o.paint.Word(colour, state))
	field("Name", view.Clean(key.Spec.DisplayName))
	expires := "never"
	if key.Spec.ExpiresAt != nil {
		expires = lifetime.Say(&key.Spec.ExpiresAt.Time, o.now())
	}
	field("Expires", expires)
	for _, token := range key.Status.Keys {
		if token.ID == a.KeyID && token.ExpiresAt != nil && (key.Spec.ExpiresAt == nil || token.ExpiresAt.Before(key.Spec.ExpiresAt)) {
			field("This token", "was replaced, and ends "+lifetime.Say(&token.ExpiresAt.Time, o.now()))
		}
	}
	var from []string
	for _, cidr := range key.Spec.AllowedCIDRs {
		from = append(from, string(cidr))
	}
	field("Allowed from", strings.Join(from, ","))
}

// whyNot says why a key is not valid.
func whyNot(a *checker.Answer) string {
	words := map[string]string{
		"unknown": "nobody's: it was never issued here, or long ago", "revoked": "revoked", "suspended": "suspended",
		"expired": "expired", "rotated": "replaced by a newer token", "wrong_policy": "of another policy", "pending": "not delivered yet",
		"not_granted": "no longer granted by the policy", "token": "this can't be a key",
	}
	if word, ok := words[a.Detail]; ok {
		return word
	}
	return strings.TrimSpace(a.Reason + " " + a.Detail)
}
