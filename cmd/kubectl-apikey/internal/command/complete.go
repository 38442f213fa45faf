package command

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/view"
)

// completionLimit bounds how long a person waits for the Tab key.
const completionLimit = 3 * time.Second

// completion is what cobra asks for possible words.
type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// complete asks the cluster for words; where it can't tell, there are none, and no
// error comes between a person and the line that is typed.
func complete(s *session, ask func(context.Context, *cluster.Cluster, []string) ([]string, error)) completion {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(orBackground(cmd.Context())), completionLimit)
		defer cancel()
		c, err := s.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		words, err := ask(ctx, c, args)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var fit []string
		for _, word := range words {
			if strings.HasPrefix(word, begun) {
				fit = append(fit, word)
			}
		}
		return fit, cobra.ShellCompDirectiveNoFileComp
	}
}

// orBackground is ctx, or one that never ends.
func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// described is a word with what is shown beside it.
func described(word, about string) string { return word + "\t" + view.Clean(about) }

// completeKeys completes the names of APIKeys that are not on the line yet, up to so
// many; 0: any number.
func completeKeys(s *session, most int) completion {
	return complete(s, func(ctx context.Context, c *cluster.Cluster, args []string) ([]string, error) {
		if most > 0 && len(args) >= most {
			return nil, nil
		}
		keys, err := c.Keys(ctx, c.Namespace, labels.Everything())
		if err != nil {
			return nil, err
		}
		there := map[string]bool{}
		for _, arg := range args {
			there[arg] = true
		}
		var words []string
		for i := range keys.Items {
			key := &keys.Items[i]
			if state, _ := view.State(key); !there[key.Name] {
				words = append(words, described(key.Name, state+", "+cluster.PolicyOf(key).String()))
			}
		}
		return words, nil
	})
}

// completePolicies completes the names of policies.
func completePolicies(s *session) completion {
	return complete(s, func(ctx context.Context, c *cluster.Cluster, _ []string) ([]string, error) {
		policies, err := c.Policies(ctx)
		var words []string
		for i := range policies {
			p := &policies[i]
			words = append(words, described(p.Namespace+"/"+p.Name, hosts(p)))
			if p.Namespace == c.Namespace {
				words = append(words, described(p.Name, hosts(p)))
			}
		}
		return words, err
	})
}

// hosts are those of a policy.
func hosts(p *v1alpha1.APIKeyPolicy) string {
	var out []string
	for _, host := range p.Spec.Hosts {
		out = append(out, string(host))
	}
	return strings.Join(out, " ")
}

// completeNamespaces completes --namespace.
func completeNamespaces(s *session, root *cobra.Command) {
	_ = root.RegisterFlagCompletionFunc("namespace", complete(s, func(ctx context.Context, c *cluster.Cluster, _ []string) ([]string, error) {
		return c.Namespaces(ctx)
	}))
}

// completePolicyParts completes --policy, and what the policy on the line declares.
func completePolicyParts(s *session, cmd *cobra.Command) {
	parts := func(of func(*v1alpha1.APIKeyPolicySpec) []string) completion {
		return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			before := begun[:strings.LastIndexByte(begun, ',')+1]
			words, directive := complete(s, func(ctx context.Context, c *cluster.Cluster, _ []string) ([]string, error) {
				name, err := parsePolicy(cmd.Flag("policy").Value.String(), c.Namespace)
				if err != nil {
					return nil, err
				}
				p, err := c.Policy(ctx, name)
				if err != nil {
					return nil, err
				}
				return of(&p.Spec), nil
			})(cmd, args, begun[len(before):])
			for i := range words {
				words[i] = before + words[i]
			}
			return words, directive
		}
	}
	_ = cmd.RegisterFlagCompletionFunc("policy", completePolicies(s))
	_ = cmd.RegisterFlagCompletionFunc("scopes", parts(func(spec *v1alpha1.APIKeyPolicySpec) (out []string) {
		for _, scope := range spec.Scopes {
			out = append(out, described(string(scope.Name), scope.Description))
		}
		return out
	}))
	_ = cmd.RegisterFlagCompletionFunc("environment", parts(func(spec *v1alpha1.APIKeyPolicySpec) (out []string) {
		for _, e := range spec.Environments {
			out = append(out, described(string(e.Name), e.Prefix))
		}
		return out
	}))
	_ = cmd.RegisterFlagCompletionFunc("plan", parts(func(spec *v1alpha1.APIKeyPolicySpec) (out []string) {
		for _, plan := range spec.Plans {
			out = append(out, described(string(plan.Name), plan.Description))
		}
		return out
	}))
}
