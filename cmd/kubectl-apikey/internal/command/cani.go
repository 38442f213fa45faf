package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/judgement"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/view"
	"keygate.dev/keygate/pkg/authz"
	"keygate.dev/keygate/pkg/policy"
)

// canI is `kubectl apikey can-i`.
type canI struct {
	*session
	host  string
	plain bool
}

func newCanI(s *session) *cobra.Command {
	o := &canI{session: s}
	cmd := &cobra.Command{
		Use:     "can-i NAME METHOD PATH",
		GroupID: look,
		Short:   "Say whether a key may do something, which rule decides, and why",
		Long: `Judges a request with a key as extauthz would, by what the APIKey's status and its
policy say: nothing is sent, and no token is needed. Limits and the caller's address are
left out. It exits with 0 for yes and 1 for no.`,
		Example: `  kubectl apikey can-i ci GET /v1/stepsies
  kubectl apikey can-i ci POST /v1/stepsies --host api.stepsies.com`,
		Args:              named("NAME", "METHOD", "PATH"),
		ValidArgsFunction: completeKeys(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), args[0], judgement.Request{Method: args[1], Path: args[2], Host: o.host, Plain: o.plain})
		},
	}
	cmd.Flags().StringVar(&o.host, "host", "", "host of the request (default: the route names the key's policy)")
	cmd.Flags().BoolVar(&o.plain, "plain-http", false, "the request comes without TLS")
	return cmd
}

func (o *canI) run(ctx context.Context, name string, r judgement.Request) error {
	c, err := o.connect()
	if err != nil {
		return err
	}
	key, err := c.Key(ctx, name)
	if err != nil {
		return err
	}
	p, err := c.Policy(ctx, cluster.PolicyOf(key))
	if err != nil {
		return err
	}
	compiled, source, err := cluster.Compile(p)
	if err != nil {
		return outcome.New(outcome.Refused, "its team sees why with `kubectl describe apikeypolicy`", "the policy %s has a mistake: %w", cluster.PolicyOf(key), err)
	}
	table, err := o.table(ctx, c, source, compiled)
	if err != nil {
		return err
	}
	return o.answer(key, p, judgement.Judge(ctx, table, compiled, key, r, o.now()), r)
}

// table is the policies that could judge the request.
func (o *canI) table(ctx context.Context, c *cluster.Cluster, source *policy.Source, compiled *policy.Policy) (*policy.Table, error) {
	entries := []policy.Entry{policy.NewEntry(source, compiled)}
	if o.host == "" {
		return policy.NewTable(entries), nil
	}
	others, err := c.Policies(ctx)
	if err != nil && !cluster.Unreadable(err) {
		return nil, err
	}
	for i := range others {
		if string(others[i].UID) == source.UID {
			continue
		}
		compiled, source, err := cluster.Compile(&others[i])
		if err != nil {
			compiled = nil // a policy that can't be used still decides its hosts
		}
		entries = append(entries, policy.NewEntry(source, compiled))
	}
	return policy.NewTable(entries), nil
}

// answer prints the verdict, and why.
func (o *canI) answer(key *v1alpha1.APIKey, p *v1alpha1.APIKeyPolicy, v authz.Verdict, r judgement.Request) error {
	word, colour := "yes", view.Good
	if !v.Allow {
		word, colour = "no", view.Bad
	}
	fmt.Fprintf(o.Out, "%s - %s\n", o.paint.Word(colour, word), because(key, p, &v, r))
	if v.Allow {
		o.notes(key, v)
		return nil
	}
	return outcome.Quiet(outcome.No)
}

// because says why, and which rule decides.
func because(key *v1alpha1.APIKey, p *v1alpha1.APIKeyPolicy, v *authz.Verdict, r judgement.Request) string {
	rule := ""
	if v.Rule != nil && v.Policy != nil && v.Policy.Ref().UID == string(p.UID) {
		spec := &p.Spec.Rules[v.Rule.Index]
		rule = fmt.Sprintf("rule %d (%s %s) asks for %s", v.Rule.Index+1, methodsOf(spec), pathsOf(&p.Spec, spec), asks(spec))
	}
	switch v.Reason {
	case authz.Allowed, authz.Anonymous:
		return rule
	case policy.InsufficientScope:
		return rule + "; the key has " + orNothing(join(key.Status.Scopes, ","))
	case policy.PlanRequired:
		return rule + "; the key's plan is " + orNothing(string(key.Status.Plan))
	case policy.NoRule:
		return fmt.Sprintf("no rule of %s is for %s %s%s", v.Policy, view.Clean(r.Method), view.Clean(r.Path), upper(r.Method))
	case policy.NoPolicy:
		return "no policy that you can read decides the host " + view.Clean(r.Host)
	case policy.InvalidKey:
		return "the key is not valid: " + string(v.Detail) + invalidBecause(key, v)
	}
	return strings.TrimSpace(string(v.Reason) + " " + string(v.Detail))
}

// invalidBecause says more about a key that is not valid.
func invalidBecause(key *v1alpha1.APIKey, v *authz.Verdict) string {
	if v.Detail == authz.DetailUnknown {
		return ": no token was issued"
	}
	if v.Detail == authz.DetailWrongPolicy {
		return ": the host is decided by " + v.Policy.String() + ", and the key is for " + cluster.PolicyOf(key).String()
	}
	return ""
}

// upper reminds of the case of methods, which counts.
func upper(method string) string {
	if method == strings.ToUpper(method) {
		return ""
	}
	return " (methods are written in capitals: " + strings.ToUpper(view.Clean(method)) + ")"
}

// orNothing is a word, or "nothing".
func orNothing(word string) string {
	if word == "" {
		return "none"
	}
	return word
}

// notes tell what was left out of a yes.
func (o *canI) notes(key *v1alpha1.APIKey, v authz.Verdict) {
	if v.Reason != authz.Allowed {
		return
	}
	if len(key.Spec.AllowedCIDRs) > 0 {
		o.say("Only from %s.", join(key.Spec.AllowedCIDRs, ", "))
	}
	plan, _ := v.Policy.Plan(v.Record.Environment, v.Record.Plan)
	if limits := v.Policy.Limits(plan); len(limits) > 0 && v.Rule.Cost() > 0 {
		o.say("While the limits of the plan %s are not used up.", plan)
	}
}
