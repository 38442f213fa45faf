package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/audit"
	"keygate.dev/keygate/pkg/usage"
)

// usageOptions say how the last use of keys is written.
type usageOptions struct {
	// writesPerSecond is how many writes all replicas together make in a second; 0: the
	// last use is not written.
	writesPerSecond int
	// interval is the least time between two writes of one APIKey.
	interval time.Duration
	// keys is how many APIKeys are held that wait to be written.
	keys int
	// flushTimeout bounds what is still written at the end.
	flushTimeout time.Duration
}

// validate names every flag that can't be as it is.
func (o *usageOptions) validate() error {
	var problems []error
	if o.writesPerSecond < 0 || o.writesPerSecond > 1000 {
		problems = append(problems, errors.New("--usage-writes-per-second must be from 0 to 1000"))
	}
	if o.interval < time.Second {
		problems = append(problems, errors.New("--usage-interval must be at least 1s"))
	}
	if o.keys < 1 {
		problems = append(problems, errors.New("--usage-keys must be at least 1"))
	}
	if o.flushTimeout < 0 {
		problems = append(problems, errors.New("--usage-flush-timeout must not be negative"))
	}
	return errors.Join(problems...)
}

// witness takes note of who uses keys, and of who calls with dead ones.
type witness struct {
	// uses and writer are nil where the last use is not written.
	uses     *usage.Collector
	writer   *usage.Writer
	refusals *usage.Refusals
	// close ends the audit stream.
	close func() error
}

// newWitness makes a witness, as the flags say.
func newWitness(o options, log *slog.Logger, metrics prometheus.Registerer) (*witness, error) {
	stream, end, err := audit.Open(o.auditLog, o.logOutput)
	if err != nil {
		return nil, err
	}
	w := &witness{refusals: usage.NewRefusals(stream), close: end}
	if o.usage.writesPerSecond == 0 {
		return w, nil
	}
	w.uses = usage.NewCollector(o.usage.keys)
	if w.writer, err = newWriter(o, w.uses, log, metrics); err != nil {
		return nil, errors.Join(fmt.Errorf("write when keys were last used: %w", err), w.close())
	}
	return w, nil
}

// newWriter writes to the cluster that the flags name.
func newWriter(o options, uses *usage.Collector, log *slog.Logger, metrics prometheus.Registerer) (*usage.Writer, error) {
	config, err := restConfig(o.kubeconfig)
	if err != nil {
		return nil, err
	}
	sink, err := usage.NewAPI(config)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name this replica: %w", err)
	}
	return usage.NewWriter(usage.WriterOptions{
		Collector:    uses,
		Sink:         sink,
		Turns:        usage.NewLease(client, o.systemNamespace, host+"_"+rand.Text(), log),
		PerSecond:    o.usage.writesPerSecond,
		Interval:     o.usage.interval,
		FlushTimeout: o.usage.flushTimeout,
		Log:          log,
		Registerer:   metrics,
	})
}

// Used implements [authz.Witness].
func (w *witness) Used(r *apikey.Record, at time.Time) {
	if w.uses != nil {
		w.uses.Used(r, at)
	}
}

// Refused implements [authz.Witness].
func (w *witness) Refused(r *apikey.Record, why string, from netip.Addr, at time.Time) {
	w.refusals.Refused(r, why, from, at)
}

// run writes what was noted until ctx ends, and then what is left, for as long as it
// may.
func (w *witness) run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error { return w.refusals.Run(ctx) })
	if w.writer != nil {
		group.Go(func() error { return w.writer.Run(ctx) })
	}
	return group.Wait()
}
