package command

import (
	"context"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
)

// create is `kubectl apikey create`.
type create struct {
	*session
	spec       specFlags
	waiting    waiting
	dryRun     dryRun
	print      *genericclioptions.PrintFlags
	keepSecret bool
}

func newCreate(s *session) *cobra.Command {
	o := &create{session: s, print: genericclioptions.NewPrintFlags("created")}
	cmd := &cobra.Command{
		Use:     "create NAME --policy POLICY",
		GroupID: use,
		Short:   "Create a key and print its token, once",
		Long: `Creates an APIKey, waits until it works, prints its token on standard output, and
deletes the Secret that it was delivered in: nobody can read it again.`,
		Example: `  kubectl apikey create ci --policy platform/stepsies --scopes read --expires 90d
  kubectl apikey create ci --policy stepsies --scopes read,write | vault kv put secret/ci key=-
  kubectl apikey create ci --policy stepsies --dry-run=client -o yaml > ci.yaml
  kubectl apikey create old --policy stepsies --sha256 "$(printf %s "$KEY" | sha256sum | cut -c-64)"`,
		Args:              named("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args[0]) },
	}
	o.spec.addCommon(s, cmd)
	o.spec.addMinted(cmd)
	o.waiting.add(cmd, "the key works, and print its token")
	o.dryRun.add(cmd)
	o.print.AddFlags(cmd)
	cmd.Flags().BoolVar(&o.keepSecret, "keep-secret", false, "leave the Secret where it is")
	return cmd
}

func (o *create) run(ctx context.Context, name string) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	key, err := o.spec.key(c.Namespace, name, o.now())
	if err != nil {
		return err
	}
	if o.dryRun != dryRunClient {
		err := c.Create(ctx, key, o.dryRun == dryRunServer)
		if apierrors.IsAlreadyExists(err) {
			return outcome.New(outcome.Refused, "collect its token with `kubectl apikey token "+name+"`, or make a new one with `kubectl apikey rotate "+name+"`", "%w", err)
		}
		if err != nil {
			return err
		}
	}
	if o.dryRun != dryRunNone {
		return o.show(key)
	}
	return o.deliver(ctx, c, key)
}

// check refuses what can't be.
func (o *create) check() error {
	if err := o.dryRun.check(); err != nil {
		return err
	}
	if o.spec.policy == "" {
		return usage("see `kubectl get apikeypolicies -A`", "--policy is missing")
	}
	if *o.print.OutputFormat != "" && o.dryRun == dryRunNone {
		return usage("add --dry-run=client, or use `kubectl get apikey` afterwards", "-o is for --dry-run: standard output is the token's")
	}
	return nil
}

// show prints an APIKey that was not created.
func (o *create) show(key *v1alpha1.APIKey) error {
	if err := o.print.Complete("%s" + o.dryRun.suffix()); err != nil {
		return err
	}
	printer, err := o.print.ToPrinter()
	if err != nil {
		return usage("", "%w", err)
	}
	key.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("APIKey")) // the client takes it away
	manifest, err := runtime.DefaultUnstructuredConverter.ToUnstructured(key)
	if err != nil {
		return err
	}
	return printer.PrintObj(&unstructured.Unstructured{Object: prune(manifest)}, o.Out)
}

// prune takes out what is empty, so that a manifest says what was asked for and nothing
// else.
func prune(members map[string]any) map[string]any {
	for name, value := range members {
		if inner, ok := value.(map[string]any); ok {
			value = prune(inner)
			if len(inner) == 0 {
				delete(members, name)
			}
		}
		if value == nil {
			delete(members, name)
		}
	}
	return members
}

// deliver waits until a key works, and hands it over.
func (o *create) deliver(ctx context.Context, c *cluster.Cluster, key *v1alpha1.APIKey) error {
	if !o.waiting.wait {
		o.say("apikey.keygate.dev/%s created; when it works: kubectl apikey token %s", key.Name, key.Name)
		return nil
	}
	key, err := o.waiting.ready(ctx, c, key, func(*v1alpha1.APIKey) bool { return true })
	if err != nil {
		return err
	}
	if key.Spec.SHA256 != "" {
		o.say("apikey.keygate.dev/%s registered: the key works, and nothing of it is stored but a hash.", key.Name)
		return nil
	}
	return o.handOver(ctx, c, key, o.keepSecret)
}
