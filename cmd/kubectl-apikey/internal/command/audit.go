package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/story"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/view"
)

// auditing is `kubectl apikey audit`.
type auditing struct {
	*session
	from   []string
	logs   bool
	pods   componentFlags
	all    bool
	output string
}

func newAudit(s *session) *cobra.Command {
	o := &auditing{session: s}
	cmd := &cobra.Command{
		Use:     "audit [NAME]",
		GroupID: look,
		Short:   "Tell what happened to a key, the oldest first",
		Long: `Tells what happened to a key, or to all of a namespace: its Events, which the API server
keeps for an hour, and the audit lines in the logs of the controller and of extauthz, from
files (--from) or from their pods (--logs).`,
		Example: `  kubectl apikey audit ci
  kubectl apikey audit ci --logs
  zcat controller-*.log.gz | kubectl apikey audit ci --from - -o json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("see `kubectl apikey audit --help`", "kubectl apikey audit takes one NAME, or none")
			}
			return nil
		},
		ValidArgsFunction: completeKeys(s, 1),
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), strings.Join(args, "")) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.from, "from", nil, "files with logs, or - for standard input")
	flags.BoolVar(&o.logs, "logs", false, "read the logs of Keygate's pods")
	flags.BoolVarP(&o.all, "all-namespaces", "A", false, "keys of all namespaces")
	flags.StringVarP(&o.output, "output", "o", "", "json: one entry a line")
	o.pods.add(cmd, "app.kubernetes.io/part-of=keygate")
	return cmd
}

func (o *auditing) run(ctx context.Context, name string) error {
	if o.output != "" && o.output != "json" {
		return usage("", "-o is json, or left out")
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	wanted := story.Wanted{Namespace: c.Namespace, Name: name}
	if o.all {
		wanted.Namespace = cluster.AllNamespaces
	}
	entries, err := c.Events(ctx, wanted)
	if err != nil {
		return err
	}
	lines, err := o.lines(ctx, c, wanted)
	if err != nil {
		return err
	}
	entries = append(entries, lines...)
	story.Sort(entries)
	if len(entries) == 0 {
		o.say("Nothing is told. Events are kept for an hour; the logs tell more: --logs, or --from FILE.")
		return nil
	}
	if o.output == "json" {
		return o.showJSON(entries)
	}
	return o.show(entries)
}

// lines reads the audit lines of all logs that are asked for.
func (o *auditing) lines(ctx context.Context, c *cluster.Cluster, wanted story.Wanted) ([]story.Entry, error) {
	var all []story.Entry
	for _, name := range o.from {
		found, err := o.file(name, wanted)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	if !o.logs {
		return all, nil
	}
	selector, err := o.pods.labels()
	if err != nil {
		return nil, err
	}
	pods, err := c.Pods(ctx, o.pods.namespace, selector)
	if err != nil {
		return nil, err
	}
	if len(pods) == 0 {
		return nil, outcome.New(outcome.NotFound, "say where they are with --system-namespace and --pods, or give their logs with --from", "no pod of Keygate runs in %s (%s)", o.pods.namespace, o.pods.selector)
	}
	for i := range pods {
		for _, container := range pods[i].Spec.Containers {
			log, err := c.Log(ctx, &pods[i], container.Name)
			if err != nil {
				return nil, err
			}
			found, err := story.Lines(log, wanted)
			if err := errors.Join(err, log.Close()); err != nil {
				return nil, fmt.Errorf("read the log of %s: %w", pods[i].Name, err)
			}
			all = append(all, found...)
		}
	}
	return all, nil
}

// file reads the audit lines of a file, or of standard input.
func (o *auditing) file(name string, wanted story.Wanted) ([]story.Entry, error) {
	in := io.Reader(o.In)
	if name != "-" {
		file, err := os.Open(name)
		if errors.Is(err, os.ErrNotExist) {
			return nil, outcome.New(outcome.NotFound, "", "there is no file %s", name)
		}
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	found, err := story.Lines(in, wanted)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return found, nil
}

// showJSON prints an entry a line.
func (o *auditing) showJSON(entries []story.Entry) error {
	out := json.NewEncoder(o.Out)
	for i := range entries {
		if err := out.Encode(&entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// show prints entries for people.
func (o *auditing) show(entries []story.Entry) error {
	tabs := tabwriter.NewWriter(o.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tabs, "TIME\tKEY\tWHAT\tTOKEN\tBY\tNOTE")
	for i := range entries {
		e := &entries[i]
		note := e.Note
		if e.Address != "" {
			note = strings.TrimPrefix(note+" from "+e.Address, " ")
		}
		if e.Count > 1 {
			note += fmt.Sprintf(" (%d times)", e.Count)
		}
		fmt.Fprintf(tabs, "%s\t%s/%s\t%s\t%s\t%s\t%s\n", e.Time.UTC().Format(time.RFC3339), e.Namespace, e.Name,
			view.Clean(e.What), orDash(e.KeyID), orDash(e.Actor), view.Clean(note))
	}
	return tabs.Flush()
}

// orDash is a word, or a dash that keeps its column.
func orDash(word string) string {
	if word == "" {
		return "-"
	}
	return view.Clean(word)
}
