package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"keygate.dev/keygate/api/v1alpha1"
)

// leaseLost is what a manager says that lost its lease; there is no sentinel.
const leaseLost = "leader election lost"

// startAgain is how long to wait before starting over.
const startAgain = time.Second

// Controller turns APIKeys and APIKeyPolicies into sealed Secrets.
type Controller struct {
	options Options
	metrics *metrics
	scheme  *runtime.Scheme
	// manager of the first term.
	manager manager.Manager
	synced  atomic.Bool
}

// New reads the root Secret, makes it on the very first start, and sets everything
// up. It returns an error that says how to restore a root Secret that is gone while
// records exist, and one where no admission policy keeps it from tenants' Secrets.
func New(ctx context.Context, options Options) (*Controller, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Controller{options: o, scheme: runtime.NewScheme()}
	if err := errors.Join(clientgoscheme.AddToScheme(c.scheme), v1alpha1.AddToScheme(c.scheme)); err != nil {
		return nil, err
	}
	if c.metrics, err = newMetrics(o.Registerer); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	c.manager, err = c.prepare(ctx)
	return c, err
}

// Synced reports whether the caches hold everything that is judged by.
func (c *Controller) Synced() bool { return c.synced.Load() }

// Run works until ctx ends. A controller that lost its lease, in an outage of the
// API server, starts over: nothing that it knew counts any more.
func (c *Controller) Run(ctx context.Context) error {
	for m := c.manager; ; {
		err := c.serve(ctx, m)
		if ctx.Err() != nil || err == nil || err.Error() != leaseLost {
			return err
		}
		c.options.Log.Warn("the lease was lost: starting over")
		if m, err = c.prepareAgain(ctx); m == nil {
			return err
		}
	}
}

// serve runs a manager to its end.
func (c *Controller) serve(ctx context.Context, m manager.Manager) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		c.synced.Store(m.GetCache().WaitForCacheSync(ctx))
	}()
	err := m.Start(ctx)
	cancel()
	<-waited
	c.synced.Store(false)
	return err
}

// prepareAgain prepares until it succeeds, the root Secret turns out to be lost, or
// ctx ends, which is no error: then there is no manager.
func (c *Controller) prepareAgain(ctx context.Context) (manager.Manager, error) {
	for {
		m, err := c.prepare(ctx)
		if err == nil {
			return m, nil
		}
		if errors.Is(err, errRootLost) {
			return nil, err
		}
		c.options.Log.Warn("cannot start over yet", "error", err)
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(startAgain):
		}
	}
}

// prepare reads the root Secret and sets up a manager on it, once it is sure that
// tenants' Secrets are out of the controller's reach.
func (c *Controller) prepare(ctx context.Context) (manager.Manager, error) {
	o := c.options
	live, err := client.New(o.Config, client.Options{Scheme: c.scheme})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	if err := awaitFence(ctx, live, o.KeysNamespace, o.fenceWithin); err != nil {
		return nil, err
	}
	root, err := (&rootStore{o.wrap(live), o.SystemNamespace, o.KeysNamespace}).load(ctx)
	if err != nil {
		return nil, err
	}
	m, err := manager.New(o.Config, managerOptions(o, c.scheme))
	if err != nil {
		return nil, fmt.Errorf("make the manager: %w", err)
	}
	if err := addIndexes(ctx, m.GetFieldIndexer(), root); err != nil {
		return nil, fmt.Errorf("index the cache: %w", err)
	}
	c.metrics.reset()
	if err := m.Add(&turnLease{client: live, namespace: o.SystemNamespace, every: o.turnsEvery, log: o.Log}); err != nil {
		return nil, fmt.Errorf("set up the Lease of extauthz: %w", err)
	}
	return m, addControllers(m, o, root, c.metrics)
}
