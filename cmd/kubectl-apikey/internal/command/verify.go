package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/checker"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/lifetime"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/route"
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

// candidate is a policy that the token may be for.
type candidate struct {
	source   *v1alpha1.APIKeyPolicy
	compiled *policy.Policy
	samples  []route.Sample
}

// newCandidate compiles a policy; nil: nobody can be asked about it.
func newCandidate(p *v1alpha1.APIKeyPolicy) *candidate {
	compiled, _, err := cluster.Compile(p)
	if err != nil {
		return nil
	}
	return &candidate{p, compiled, route.Samples(&p.Spec, compiled)}
}

// candidates are the policies to ask: the one that was named, else those one of whose
// prefixes the token has, else, for a key that was made elsewhere, all.
func (o *verify) candidates(ctx context.Context, c *cluster.Cluster, token []byte) ([]*candidate, error) {
	if o.policy != "" {
		name, err := parsePolicy(o.policy, c.Namespace)
		if err != nil {
			return nil, err
		}
		p, err := c.Policy(ctx, name)
		if err != nil {
			return nil, err
		}
		if one := newCandidate(p); one != nil {
			return []*candidate{one}, nil
		}
		return nil, outcome.New(outcome.Refused, "its team sees why with `kubectl describe apikeypolicy`", "the policy %s has a mistake", name)
	}
	policies, err := c.Policies(ctx)
	if err != nil {
		return nil, err
	}
	var fit, all []*candidate
	for i := range policies {
		one := newCandidate(&policies[i])
		if one == nil {
			continue
		}
		all = append(all, one)
		if hasPrefix(&policies[i].Spec, token) {
			fit = append(fit, one)
		}
	}
	if len(all) == 0 {
		return nil, outcome.New(outcome.NotFound, "name one with --policy NAMESPACE/NAME", "there is no policy that you may read")
	}
	if len(fit) == 0 {
		return all, nil
	}
	return fit, nil
}

// hasPrefix reports whether a token begins as one of a policy's environments has it.
func hasPrefix(spec *v1alpha1.APIKeyPolicySpec, token []byte) bool {
	for _, e := range spec.Environments {
		if strings.HasPrefix(string(token), e.Prefix) {
			return true
		}
	}
	return false
}

// ask asks about each policy in turn until one knows the token. Another policy's key
// is told with its owner, whose policy is then asked.
func (o *verify) ask(ctx context.Context, c *cluster.Cluster, conn grpc.ClientConnInterface, candidates []*candidate, token []byte) (*candidate, *checker.Answer, error) {
	var last *checker.Answer
	var of *candidate
	for _, one := range candidates {
		answer, err := one.ask(ctx, conn, token)
		if errors.Is(err, errNoKeyRule) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		of, last = one, answer
		if answer.Known() && answer.Detail != "wrong_policy" {
			return one, answer, nil
		}
		if answer.Known() && o.policy == "" {
			if owner := o.ownerOf(ctx, c, answer); owner != nil {
				if answer, err := owner.ask(ctx, conn, token); err == nil {
					return owner, answer, nil
				}
			}
		}
	}
	if last == nil {
		return nil, nil, outcome.New(outcome.Refused, "name another with --policy", "no rule of the policies asks for a key: there is nothing to ask about")
	}
	return of, last, nil
}

// ownerOf is the policy of the APIKey that an answer names; nil: the user may not read
// it.
func (o *verify) ownerOf(ctx context.Context, c *cluster.Cluster, answer *checker.Answer) *candidate {
	key, err := c.KeyIn(ctx, answer.Namespace, answer.Name)
	if err != nil {
		return nil
	}
	p, err := c.Policy(ctx, cluster.PolicyOf(key))
	if err != nil {
		return nil
	}
	return newCandidate(p)
}

var errNoKeyRule = errors.New("no rule asks for a key")

// ask asks extauthz about the token and one policy.
func (one *candidate) ask(ctx context.Context, conn grpc.ClientConnInterface, token []byte) (*checker.Answer, error) {
	sample, ok := route.ToAsk(one.samples)
	if !ok {
		return nil, errNoKeyRule
	}
	host := "keygate.invalid"
	if len(one.source.Spec.Hosts) > 0 {
		host = strings.Replace(string(one.source.Spec.Hosts[0]), "*", "www", 1)
	}
	return checker.Ask(ctx, conn, checker.Question{
		Policy: one.compiled.String(), Method: sample.Method, Path: sample.Path, Host: host,
		Credential: one.compiled.Credentials()[0], Token: token,
	})
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
