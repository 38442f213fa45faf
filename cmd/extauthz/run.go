package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/stats"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"keygate.dev/keygate/cmd/internal/admin"
	"keygate.dev/keygate/cmd/internal/program"
	"keygate.dev/keygate/pkg/authz"
	"keygate.dev/keygate/pkg/keystore"
)

// run serves until ctx ends, then drains. The store, the probes and the writing of
// what was noted outlive the gRPC server, so that requests are decided and readiness
// is told to the last, and their use is written.
func run(ctx context.Context, o options) (err error) {
	log := o.logger()
	klog.SetSlogLogger(log) // client-go's own
	program.LimitMemory(log)
	metrics := newRegistry()
	store, err := newStore(o, log, metrics)
	if err != nil {
		return err
	}
	limiter, err := newLimiter(o.rateLimit, log, metrics)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, limiter.Close()) }()
	traces, endTracing, err := newTracing(ctx, o.tracing, log)
	if err != nil {
		return err
	}
	defer endTracing()
	witness, err := newWitness(o, log, metrics)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, witness.close()) }()
	server, err := newServer(o, parts{store, limiter, traces, witness, log, metrics})
	if err != nil {
		return err
	}
	grpcListener, adminListener, err := listen(o)
	if err != nil {
		return err
	}
	log.Info("listening", "grpc", grpcListener.Addr().String(), "admin", adminListener.Addr().String())

	// A failure of any part ends ctx for the server, which drains; its end, however
	// it comes, ends the others.
	group, failed := errgroup.WithContext(context.WithoutCancel(ctx))
	serving, stopServing := context.WithCancel(ctx)
	defer context.AfterFunc(failed, stopServing)()
	outliving, stopOutliving := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer stopOutliving()
		awaitSync(serving, store.Synced, o.syncWait)
		return server.Serve(serving, grpcListener)
	})
	group.Go(func() error { return runStore(outliving, store) })
	group.Go(func() error { return witness.run(outliving) })
	group.Go(func() error {
		return admin.Serve(outliving, adminListener, admin.Handler(server.Ready, metrics, o.pprof))
	})
	defer stopServing()
	return group.Wait()
}

const (
	// defaultSyncWait is the longest that connections wait to be accepted: by then Envoy's
	// health checks have told that nothing answers here.
	defaultSyncWait = 5 * time.Second
	syncPoll        = 10 * time.Millisecond
)

// awaitSync waits for the store, before the first connection is accepted. A container
// that died is back at its pod's address before Envoy has missed it. What it is sent
// then is answered a little later, or by another replica when Envoy's connect timeout
// has passed, and not with an error. Where the store stays away, errors it is.
func awaitSync(ctx context.Context, synced func() bool, longest time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	poll := time.NewTicker(syncPoll)
	defer poll.Stop()
	for !synced() {
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		}
	}
}

// runStore feeds the store until ctx ends, which is no error.
func runStore(ctx context.Context, store *keystore.Store) error {
	err := store.Run(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("run the key store: %w", err)
	}
	if ctx.Err() == nil {
		return errors.New("run the key store: it ended")
	}
	return nil
}

// newRegistry holds the metrics of the process.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// newStore makes the key store on the cluster that the flags name.
func newStore(o options, log *slog.Logger, metrics prometheus.Registerer) (*keystore.Store, error) {
	config, err := restConfig(o.kubeconfig)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes metadata client: %w", err)
	}
	return keystore.New(keystore.Options{
		Client:          client,
		Metadata:        meta,
		SystemNamespace: o.systemNamespace,
		KeysNamespace:   o.keysNamespace,
		CacheSize:       o.cacheSize,
		RelistInterval:  o.relistInterval,
		Log:             log,
		Registerer:      metrics,
		Now:             time.Now,
	})
}

// restConfig reads a kubeconfig, or the pod's service account where there is none.
func restConfig(path string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("read the Kubernetes configuration: %w", err)
	}
	// No limit on this side: a request waits for each read, which only a key that
	// exists can cause, and the API server guards itself (priority and fairness).
	config.QPS = -1
	config.UserAgent = "keygate-extauthz"
	return config, nil
}

// parts are what the gRPC server is made of.
type parts struct {
	store   *keystore.Store
	limiter authz.Limiter
	// traces is nil where no spans are made.
	traces  stats.Handler
	witness authz.Witness
	log     *slog.Logger
	metrics prometheus.Registerer
}

// newServer makes the gRPC server over its parts.
func newServer(o options, p parts) (*authz.Server, error) {
	return authz.NewServer(authz.ServerOptions{
		Decider: &authz.Decider{
			Keys:        p.store,
			Policies:    p.store.Policies,
			Synced:      p.store.Synced,
			Limiter:     p.limiter,
			FixedPolicy: o.policy,
			Now:         time.Now,
		},
		TLS:          o.tls,
		MaxBodyBytes: o.maxBodyBytes,

		TrustForwardedProto: o.trustForwardedProto,
		ClientAddress:       o.clientAddress,

		Witness:      p.witness,
		Decisions:    o.decisions,
		DrainDelay:   o.drainDelay,
		DrainTimeout: o.drainTimeout,
		Trace:        p.traces,
		Log:          p.log,
		Registerer:   p.metrics,
	})
}

// listen opens both listeners, or neither.
func listen(o options) (grpcListener, adminListener net.Listener, err error) {
	if grpcListener, err = authz.Listen(o.listen); err != nil {
		return nil, nil, fmt.Errorf("listen for gRPC: %w", err)
	}
	if adminListener, err = net.Listen("tcp", o.adminListen); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("listen for probes and metrics: %w", err), grpcListener.Close())
	}
	return grpcListener, adminListener, nil
}
