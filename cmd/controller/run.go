package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"keygate.dev/keygate/cmd/internal/admin"
	"keygate.dev/keygate/cmd/internal/program"
	"keygate.dev/keygate/pkg/audit"
	"keygate.dev/keygate/pkg/reconcile"
)

// run works until ctx ends, then gives the lease back.
func run(ctx context.Context, o options) (err error) {
	log := o.logger(os.Stderr)
	klog.SetSlogLogger(log) // client-go's own
	ctrllog.SetLogger(logr.FromSlogHandler(log.Handler()))
	program.LimitMemory(log)

	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return fmt.Errorf("read the Kubernetes configuration: %w", err)
	}
	auditLog, closeAudit, err := audit.Open(o.auditLog, os.Stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAudit()) }()
	controller, err := reconcile.New(ctx, reconcile.Options{
		Config:           config,
		SystemNamespace:  o.systemNamespace,
		KeysNamespace:    o.keysNamespace,
		PolicyNamespaces: o.policyNamespaces,
		LeaderElection:   o.leaderElect,
		AdoptRestored:    o.adoptRestored,
		ExpiringSoon:     o.expiringSoon,
		Log:              log,
		Audit:            auditLog,
		Registerer:       ctrlmetrics.Registry,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.adminListen)
	if err != nil {
		return fmt.Errorf("listen for probes and metrics: %w", err)
	}
	log.Info("listening", "admin", listener.Addr().String())

	group, ctx := errgroup.WithContext(ctx)
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer stopServing() // probes and metrics are served to the last
		return controller.Run(ctx)
	})
	group.Go(func() error {
		return admin.Serve(serving, listener, admin.Handler(controller.Synced, ctrlmetrics.Registry, o.pprof))
	})
	return group.Wait()
}
