package command

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/checker"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/route"
	"keygate.dev/keygate/pkg/policy"
)

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
