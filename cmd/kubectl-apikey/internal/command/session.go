package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/view"
)

// session is one command line: where it reads and writes, and which cluster it is about.
type session struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags
	now   func() time.Time
	paint view.Paint
}

func newSession(streams genericiooptions.IOStreams) *session {
	s := &session{IOStreams: streams, now: time.Now, paint: view.NewPaint(streams.Out)}
	s.flags = genericclioptions.NewConfigFlags(true).WithWrapConfigFn(func(config *rest.Config) *rest.Config {
		config.WarningHandler = rest.NewWarningWriter(streams.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
		return config
	})
	return s
}

// connect reads the kubeconfig. No request is sent.
func (s *session) connect() (*cluster.Cluster, error) {
	config, err := s.flags.ToRESTConfig()
	if err != nil {
		return nil, outcome.New(outcome.Usage, "set KUBECONFIG, or give --kubeconfig or --context", "read the kubeconfig: %w", err)
	}
	namespace, _, err := s.flags.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, outcome.New(outcome.Usage, "give --namespace", "read the kubeconfig: %w", err)
	}
	return cluster.New(config, namespace)
}

// say tells the person at the terminal something that is not the command's output.
func (s *session) say(format string, args ...any) {
	fmt.Fprintf(s.ErrOut, format+"\n", args...)
}

// usage ends a command whose line can't be as it is.
func usage(hint, format string, args ...any) error {
	return outcome.New(outcome.Usage, hint, format, args...)
}

// named takes exactly the arguments that are named.
func named(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usage("see `"+cmd.CommandPath()+" --help`", "%s takes %s, and nothing else", cmd.CommandPath(), strings.Join(names, " "))
		}
		return nil
	}
}

// someNames takes one or more names.
func someNames(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usage("see `kubectl apikey list`", "%s takes the NAME of an APIKey, or several", cmd.CommandPath())
	}
	return nil
}

// parsePolicy reads the name of a policy, of the namespace that is given if it names
// none.
func parsePolicy(text, namespace string) (client.ObjectKey, error) {
	name := client.ObjectKey{Namespace: namespace, Name: text}
	if before, after, found := strings.Cut(text, "/"); found {
		name = client.ObjectKey{Namespace: before, Name: after}
	}
	if name.Name == "" || name.Namespace == "" || strings.Contains(name.Name, "/") {
		return name, usage("see `kubectl get apikeypolicies -A`", "--policy is NAME or NAMESPACE/NAME")
	}
	return name, nil
}

// dryRun is the value of --dry-run.
type dryRun string

// The ways to write nothing.
const (
	dryRunNone   dryRun = "none"
	dryRunClient dryRun = "client"
	dryRunServer dryRun = "server"
)

// add adds the flag.
func (d *dryRun) add(cmd *cobra.Command) {
	*d = dryRunNone
	cmd.Flags().StringVar((*string)(d), "dry-run", string(dryRunNone), "none, client (send nothing) or server (the API server judges it and stores nothing)")
	cmd.Flags().Lookup("dry-run").NoOptDefVal = string(dryRunClient)
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]string{"none", "client", "server"}, cobra.ShellCompDirectiveNoFileComp))
}

// check refuses any other value.
func (d dryRun) check() error {
	switch d {
	case dryRunNone, dryRunClient, dryRunServer:
		return nil
	}
	return usage("", "--dry-run is none, client or server")
}

// suffix follows the words that tell what was done.
func (d dryRun) suffix() string {
	switch d {
	case dryRunClient:
		return " (dry run)"
	case dryRunServer:
		return " (server dry run)"
	}
	return ""
}
