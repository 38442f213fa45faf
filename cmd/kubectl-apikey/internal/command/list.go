package command

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/lifetime"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/view"
)

// list is `kubectl apikey list`.
type list struct {
	*session
	print            *genericclioptions.PrintFlags
	all, noHeaders   bool
	selector, policy string
	unused, expiring string
}

func newList(s *session) *cobra.Command {
	o := &list{session: s, print: genericclioptions.NewPrintFlags("")}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		GroupID: look,
		Short:   "List keys: what they may do, when they end, when they were last used",
		Example: `  kubectl apikey list -A --unused 90d
  kubectl apikey list -A --expiring 14d -o name
  kubectl apikey list --policy platform/stepsies -o wide`,
		Args:              named(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.all, "all-namespaces", "A", false, "keys of all namespaces")
	flags.StringVarP(&o.selector, "selector", "l", "", "keys with these labels: team=acme,stage!=test")
	flags.StringVar(&o.unused, "unused", "", "keys that nobody was let in with for so long: 90d")
	flags.StringVar(&o.expiring, "expiring", "", "keys that expire within this time: 14d")
	flags.StringVar(&o.policy, "policy", "", "keys for one policy: NAME or NAMESPACE/NAME")
	flags.BoolVar(&o.noHeaders, "no-headers", false, "no line with the names of the columns")
	o.print.AddFlags(cmd)
	flags.Lookup("output").Usage = "wide, or one of json, yaml, kyaml, name, jsonpath=…, go-template=…"
	_ = cmd.RegisterFlagCompletionFunc("policy", completePolicies(s))
	return cmd
}

func (o *list) run(ctx context.Context) error {
	c, err := o.connect()
	if err != nil {
		return err
	}
	filter, err := o.filter(c.Namespace)
	if err != nil {
		return err
	}
	selector, err := labels.Parse(o.selector)
	if err != nil {
		return usage("", "--selector: %w", err)
	}
	namespace := c.Namespace
	if o.all {
		namespace = cluster.AllNamespaces
	}
	found, err := c.Keys(ctx, namespace, selector)
	if err != nil {
		return err
	}
	kept := found.Items[:0]
	for i := range found.Items {
		if filter.Fits(&found.Items[i]) {
			kept = append(kept, found.Items[i])
		}
	}
	found.Items = kept
	return o.show(found, namespace)
}

// filter reads the flags that say which keys are listed.
func (o *list) filter(namespace string) (*view.Filter, error) {
	filter := &view.Filter{Now: o.now()}
	var err error
	if o.unused != "" {
		if filter.Unused, err = lifetime.Parse(o.unused); err != nil {
			return nil, usage("", "--unused: %w", err)
		}
	}
	if o.expiring != "" {
		if filter.Expiring, err = lifetime.Parse(o.expiring); err != nil {
			return nil, usage("", "--expiring: %w", err)
		}
	}
	if o.policy != "" {
		policy, err := parsePolicy(o.policy, namespace)
		if err != nil {
			return nil, err
		}
		filter.Policy = policy.String()
	}
	return filter, nil
}

// show prints APIKeys.
func (o *list) show(keys *v1alpha1.APIKeyList, namespace string) error {
	output := *o.print.OutputFormat
	if output != "" && output != "wide" {
		return o.showObjects(keys)
	}
	if len(keys.Items) == 0 {
		where := "in " + namespace
		if o.all {
			where = "in any namespace"
		}
		o.say("No such keys %s.", where)
		return nil
	}
	printer := printers.NewTablePrinter(printers.PrintOptions{Wide: output == "wide", WithNamespace: o.all, NoHeaders: o.noHeaders})
	return printer.PrintObj(view.Table(keys.Items, o.now()), o.Out)
}

// showObjects prints APIKeys as they are.
func (o *list) showObjects(keys *v1alpha1.APIKeyList) error {
	kind := v1alpha1.GroupVersion.WithKind("APIKey")
	for i := range keys.Items {
		keys.Items[i].SetGroupVersionKind(kind)
	}
	keys.SetGroupVersionKind(kind.GroupVersion().WithKind("APIKeyList"))
	printer, err := o.print.ToPrinter()
	if err != nil {
		return usage("", "-o: %w", err)
	}
	if *o.print.OutputFormat != "name" {
		return printer.PrintObj(keys, o.Out)
	}
	for i := range keys.Items { // names are printed of single objects only
		if err := printer.PrintObj(&keys.Items[i], o.Out); err != nil {
			return err
		}
	}
	return nil
}
