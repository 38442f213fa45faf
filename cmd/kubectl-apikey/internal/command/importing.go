package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"keygate.dev/keygate/cmd/kubectl-apikey/internal/hashlist"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/registration"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/view"
)

// importing is `kubectl apikey import`.
type importing struct {
	*session
	spec        specFlags
	file        string
	prefix      string
	concurrency int
	waiting     waiting
	dryRun      dryRun
}

func newImport(s *session) *cobra.Command {
	o := &importing{session: s}
	cmd := &cobra.Command{
		Use:     "import -f FILE --policy POLICY",
		GroupID: use,
		Short:   "Register keys that were made elsewhere, by their SHA-256",
		Long: `Registers keys that exist already, thousands at once: one APIKey for each, by the SHA-256
of its text. The keys themselves are not in the file, and never enter the cluster.

FILE is CSV with the header name,sha256 and perhaps scopes,plan,environment,expiresAt,
displayName; or, with --name-prefix, one hash a line, as sha256sum writes them. Scopes
are separated by spaces. What a row does not say is said by the flags.

It can be stopped and started again: what is registered already is passed over. A file
with a row that can't be used registers nothing.`,
		Example: `  while read -r name key; do printf '%s,%s\n' "$name" "$(printf %s "$key" | sha256sum | cut -c-64)"; done
  kubectl apikey import -f keys.csv --policy platform/stepsies --scopes read --dry-run
  kubectl apikey import -f hashes.txt --name-prefix legacy- --policy platform/stepsies --wait`,
		Args:              named(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.file, "filename", "f", "", "file, or - for standard input (required)")
	flags.StringVar(&o.prefix, "name-prefix", "", "begins the names of keys in a file that has none; the hash's first digits follow")
	flags.IntVar(&o.concurrency, "concurrency", 16, "how many are registered at a time, 1 to 128")
	o.spec.addCommon(s, cmd)
	o.waiting.add(cmd, "the keys work")
	flags.Lookup("wait").DefValue, o.waiting.wait = "false", false
	o.dryRun.add(cmd)
	return cmd
}

func (o *importing) run(ctx context.Context) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	template, err := o.spec.key(c.Namespace, "", o.now())
	if err != nil {
		return err
	}
	rows, err := o.read()
	if err != nil {
		return err
	}
	r := &registration.Registration{
		Cluster: c, Template: template, Rows: rows, Concurrency: o.concurrency,
		Client: o.dryRun == dryRunClient, Server: o.dryRun == dryRunServer,
		Progress: registration.NewProgress(o.ErrOut, view.IsTerminal(o.ErrOut), len(rows)),
	}
	result, err := r.Run(ctx)
	for _, failed := range result.Failed {
		o.say("line %d: %s: %s", failed.Row.Line, failed.Row.Name, view.Clean(failed.Err.Error()))
	}
	fmt.Fprintf(o.Out, "%d registered%s, %d there already, %d not\n", result.Created, o.dryRun.suffix(), result.Skipped, len(rows)-result.Created-result.Skipped)
	if err != nil {
		return outcome.New(outcome.Of(err).Code, "to go on, give the same command again: what is registered is passed over", "%w", err)
	}
	if o.waiting.wait && o.dryRun == dryRunNone {
		if err := o.await(ctx, r, result); err != nil {
			return err
		}
	}
	if len(result.Failed) > 0 {
		return outcome.Quiet(outcome.Partly)
	}
	return nil
}

// check refuses what can't be.
func (o *importing) check() error {
	switch {
	case o.file == "":
		return usage("see `kubectl apikey import --help`", "-f FILE is missing")
	case o.spec.policy == "":
		return usage("see `kubectl get apikeypolicies -A`", "--policy is missing")
	case o.concurrency < 1 || o.concurrency > 128:
		return usage("", "--concurrency is 1 to 128")
	}
	return o.dryRun.check()
}

// read reads the file; nothing is done where a row of it can't be used.
func (o *importing) read() ([]hashlist.Row, error) {
	in := io.Reader(o.In)
	if o.file != "-" {
		file, err := os.Open(o.file)
		if errors.Is(err, os.ErrNotExist) {
			return nil, outcome.New(outcome.NotFound, "", "there is no file %s", o.file)
		}
		if err != nil {
			return nil, err
		}
		defer file.Close()
		in = file
	}
	rows, err := hashlist.Read(in, hashlist.Options{NamePrefix: o.prefix, Now: o.now()})
	if err != nil {
		return nil, usage("nothing was registered: mend the file, and give the same command again", "%w", hashlist.Say(err))
	}
	if len(rows) == 0 {
		return nil, usage("", "the file holds no keys")
	}
	return rows, nil
}

// await waits until all keys that are there work.
func (o *importing) await(ctx context.Context, r *registration.Registration, result registration.Result) error {
	ctx, cancel := o.waiting.limit(ctx)
	defer cancel()
	refused, left, err := r.Await(ctx, result)
	for _, key := range refused {
		o.say("%s does not work: %s", key.Name, view.Clean(key.Why))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return outcome.New(outcome.Late, "see `kubectl apikey list`; more of them may work by now", "after %s %d keys are not there yet", o.waiting.timeout, left)
	}
	if err != nil {
		return err
	}
	if len(refused) > 0 {
		return outcome.New(outcome.Partly, "see `kubectl apikey list`", "%d keys do not work", len(refused))
	}
	return nil
}
