// Package command is the commands of `kubectl apikey`, one file each.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"

	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
)

// Run runs one command line, and tells how it ended.
func Run(ctx context.Context, args []string, streams genericiooptions.IOStreams) outcome.Code {
	root := newRoot(newSession(streams))
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var known *outcome.Error
	if err != nil && !errors.As(err, &known) && strings.HasPrefix(err.Error(), "unknown ") {
		err = outcome.New(outcome.Usage, "see `kubectl apikey --help`", "%w", err)
	}
	ended := outcome.Of(err)
	if ended.Err != nil {
		fmt.Fprintln(streams.ErrOut, "error:", strings.ReplaceAll(ended.Error(), "\n", "\n  "))
	}
	if ended.Hint != "" {
		fmt.Fprintln(streams.ErrOut, "  →", ended.Hint)
	}
	return ended.Code
}

const long = `API keys of Keygate: create and collect them, see what they may do and who uses them,
rotate, suspend and revoke them, and find out whose a token is.

Exit codes: 0 done, or yes · 1 no · 2 usage · 3 not found, or gone · 4 refused ·
5 not within --timeout · 6 done in part · 7 anything else.`

// newRoot makes the command and all below it.
func newRoot(s *session) *cobra.Command {
	root := &cobra.Command{
		Use:           "kubectl-apikey",
		Short:         "API keys: create, collect, inspect, rotate, revoke",
		Long:          long,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl apikey"},
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.ErrOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return outcome.New(outcome.Usage, "see `"+cmd.CommandPath()+" --help`", "%w", err)
	})
	s.flags.AddFlags(root.PersistentFlags())
	addVerbosity(root)
	root.SetUsageTemplate(usageTemplate)
	for _, group := range []*cobra.Group{{ID: use, Title: "Keys:"}, {ID: look, Title: "Questions:"}} {
		root.AddGroup(group)
	}
	root.AddCommand(
		newCreate(s), newToken(s), newRotate(s), newRevoke(s), newSuspend(s), newResume(s), newImport(s),
		newList(s), newDescribe(s), newVerify(s), newCanI(s), newAudit(s),
		newVersion(s), newOptions(),
	)
	completeNamespaces(s, root)
	return root
}

// The groups of commands.
const (
	use  = "use"
	look = "look"
)

// addVerbosity adds client-go's -v.
func addVerbosity(root *cobra.Command) {
	logging := flag.NewFlagSet("", flag.ContinueOnError)
	klog.InitFlags(logging)
	root.PersistentFlags().AddGoFlag(logging.Lookup("v"))
	root.PersistentFlags().Lookup("v").Usage = "log level; no level logs what a Secret holds"
}

// newOptions tells the flags that every command has, which their own help leaves out.
func newOptions() *cobra.Command {
	options := &cobra.Command{
		Use:   "options",
		Short: "The flags that every command takes",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Usage() },
	}
	options.SetUsageTemplate("These flags can be given to every command:\n\n{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}\n")
	return options
}

// usageTemplate is cobra's, without the flags that every command takes.
const usageTemplate = `Usage:{{if .Runnable}}
  {{.UseLine}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableSubCommands}}{{$cmds := .Commands}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) .IsAvailableCommand)}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}

Other:{{range $cmds}}{{if (and (eq .GroupID "") .IsAvailableCommand)}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}{{if .HasParent}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{end}}

The flags that every command takes: {{.Root.DisplayName}} options
`
