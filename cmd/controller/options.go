package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"keygate.dev/keygate/cmd/internal/version"
	"keygate.dev/keygate/pkg/reconcile"
	"keygate.dev/keygate/pkg/scrub"
)

// options are what the command line says.
type options struct {
	// adminListen is the "host:port" of probes and metrics.
	adminListen string
	// kubeconfig is a path; "": the pod's own service account.
	kubeconfig      string
	systemNamespace string
	keysNamespace   string
	// policyNamespaces are those whose policies may decide hosts; none: the system
	// namespace.
	policyNamespaces []string
	leaderElect      bool
	// adoptRestored takes over what a backup holds of APIKeys, whose uids are new.
	adoptRestored bool
	// expiringSoon is how long before its end a key is said to expire soon.
	expiringSoon time.Duration
	// logFormat is json or text.
	logFormat string
	// auditLog is a path that is appended to; "" and "-": where the log goes.
	auditLog string
	pprof    bool
}

// parseFlags reads the command line. What is wrong with it is written to output,
// with the usage.
func parseFlags(args []string, output io.Writer) (options, error) {
	var o options
	var policyNamespaces string
	f := flag.NewFlagSet("controller", flag.ContinueOnError)
	f.SetOutput(output)
	version.Register(f)
	f.StringVar(&o.adminListen, "admin-listen", ":9003", "address of /healthz, /readyz and /metrics")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file (default: the pod's service account)")
	f.StringVar(&o.systemNamespace, "system-namespace", "keygate-system", "namespace of the root Secret and the lease")
	f.StringVar(&o.keysNamespace, "keys-namespace", "keygate-keys", "namespace of the records and accepted policies")
	f.StringVar(&policyNamespaces, "policy-namespaces", "", "namespaces whose policies may decide hosts, separated by commas, or * for all (default: the system namespace)")
	f.BoolVar(&o.leaderElect, "leader-elect", true, "stay idle while another controller leads")
	f.BoolVar(&o.adoptRestored, "adopt-restored", false, "after a restore from a backup: take over validly sealed records whose namespace and name match an APIKey, and keep those that match none; turn it off again afterwards")
	f.DurationVar(&o.expiringSoon, "expiring-soon", reconcile.DefaultExpiringSoon, "how long before its expiresAt a key's ExpiringSoon condition turns True")
	f.StringVar(&o.logFormat, "log-format", "json", "json or text")
	f.StringVar(&o.auditLog, "audit-log", "", "file to append to, in JSON, what happens to keys (default: standard error)")
	f.BoolVar(&o.pprof, "pprof", false, "serve /debug/pprof on the admin address")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if policyNamespaces != "" {
		o.policyNamespaces = strings.Split(policyNamespaces, ",")
	}
	if err := o.validate(f.NArg()); err != nil {
		fmt.Fprintln(output, "controller:", err)
		return o, err
	}
	return o, nil
}

// validate names every flag that can't be as it is.
func (o *options) validate(rest int) error {
	var problems []error
	refuse := func(bad bool, problem string) {
		if bad {
			problems = append(problems, errors.New(problem))
		}
	}
	refuse(rest > 0, "there are no arguments, only flags")
	refuse(o.adminListen == "", "--admin-listen must not be empty")
	refuse(o.systemNamespace == "", "--system-namespace must not be empty")
	refuse(o.keysNamespace == "", "--keys-namespace must not be empty")
	refuse(slices.Contains(o.policyNamespaces, ""), "--policy-namespaces has an empty name in its list")
	refuse(len(o.policyNamespaces) > 1 && slices.Contains(o.policyNamespaces, reconcile.AllNamespaces), "--policy-namespaces is * or a list, not both")
	refuse(o.expiringSoon <= 0, "--expiring-soon must be longer than nothing")
	refuse(o.logFormat != "json" && o.logFormat != "text", "--log-format must be json or text")
	return errors.Join(problems...)
}

// logger writes to output as the flags say, and names keys by their ids.
func (o *options) logger(output io.Writer) *slog.Logger {
	var handler slog.Handler = slog.NewJSONHandler(output, nil)
	if o.logFormat == "text" {
		handler = slog.NewTextHandler(output, nil)
	}
	return slog.New(scrub.Handler(handler))
}
