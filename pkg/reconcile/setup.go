package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/keysecret"
)

// name of the controller: of its lease, its Events and its user agent.
const name = "keygate-controller"

// AllNamespaces, as the one entry of Options.PolicyNamespaces, lets every policy
// decide hosts.
const AllNamespaces = "*"

const (
	// clientQPS and clientBurst bound the requests to the API server: a mint makes
	// nine, and the API server has its own priority and fairness.
	clientQPS, clientBurst = 1000, 2000
	// defaultRecoverAfter is how long a token that is being delivered is waited for.
	defaultRecoverAfter = 5 * time.Second
	// workers is how many APIKeys are settled at a time.
	workers = 8
	// lastBackoff is the longest wait after an error.
	lastBackoff = time.Minute
)

// Options of a Controller.
type Options struct {
	// Config reaches the API server. Its QPS and Burst are raised where they are 0.
	Config *rest.Config
	// SystemNamespace holds the root Secret and the lease. Default: keygate-system.
	SystemNamespace string
	// KeysNamespace holds the records. Default: keygate-keys.
	KeysNamespace string
	// PolicyNamespaces are those whose policies may decide hosts, or AllNamespaces.
	// Default: the system namespace.
	PolicyNamespaces []string
	// LeaderElection keeps a controller idle while another one leads. Two that run
	// without it do no harm, but the work twice.
	LeaderElection bool
	// Log of everything. Default: slog.Default().
	Log *slog.Logger
	// Registerer of the metrics. Default: a registry of one's own.
	Registerer prometheus.Registerer
	// Now is the clock. Default: time.Now.
	Now func() time.Time

	// recoverAfter, 0 for the default, and wrap, nil for none, are for tests.
	recoverAfter time.Duration
	wrap         func(client.Client) client.Client
}

// withDefaults fills in what is not set.
func (o Options) withDefaults() (Options, error) {
	if o.Config == nil {
		return o, errors.New("no configuration of an API server")
	}
	o.Config = rest.CopyConfig(o.Config)
	if o.Config.QPS == 0 {
		o.Config.QPS, o.Config.Burst = clientQPS, clientBurst
	}
	o.Config.UserAgent = name
	if o.SystemNamespace == "" {
		o.SystemNamespace = "keygate-system"
	}
	if o.KeysNamespace == "" {
		o.KeysNamespace = "keygate-keys"
	}
	if o.SystemNamespace == o.KeysNamespace {
		return o, fmt.Errorf("the system namespace and the keys namespace are both %s: keep them apart", o.KeysNamespace)
	}
	if len(o.PolicyNamespaces) == 0 {
		o.PolicyNamespaces = []string{o.SystemNamespace}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.recoverAfter == 0 {
		o.recoverAfter = defaultRecoverAfter
	}
	if o.wrap == nil {
		o.wrap = func(c client.Client) client.Client { return c }
	}
	return o, nil
}

// claims reports whether policies of a namespace may decide hosts.
func (o Options) claims(namespace string) bool {
	return slices.Contains(o.PolicyNamespaces, AllNamespaces) || slices.Contains(o.PolicyNamespaces, namespace)
}

// Controller turns APIKeys and APIKeyPolicies into sealed Secrets.
type Controller struct {
	manager manager.Manager
	synced  atomic.Bool
}

// New reads the root Secret, makes it on the very first start, and sets everything
// up. It returns an error that says how to restore a root Secret that is gone while
// records exist.
func New(ctx context.Context, options Options) (*Controller, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	live, err := client.New(o.Config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	root, err := (&rootStore{o.wrap(live), o.SystemNamespace, o.KeysNamespace}).load(ctx)
	if err != nil {
		return nil, err
	}
	m, err := manager.New(o.Config, managerOptions(o, scheme))
	if err != nil {
		return nil, fmt.Errorf("make the manager: %w", err)
	}
	if err := addIndexes(ctx, m.GetFieldIndexer(), root.Sealer); err != nil {
		return nil, fmt.Errorf("index the cache: %w", err)
	}
	if err := addControllers(m, o, root); err != nil {
		return nil, err
	}
	return &Controller{manager: m}, nil
}

// Run works until ctx ends, or the lease is lost, which is an error.
func (c *Controller) Run(ctx context.Context) error {
	go func() { c.synced.Store(c.manager.GetCache().WaitForCacheSync(ctx)) }()
	return c.manager.Start(ctx)
}

// Synced reports whether the caches hold everything that is judged by.
func (c *Controller) Synced() bool { return c.synced.Load() }

func managerOptions(o Options, scheme *runtime.Scheme) manager.Options {
	grace := 10 * time.Second
	yes := true
	return manager.Options{
		Scheme: scheme,
		Logger: logr.FromSlogHandler(o.Log.Handler()),
		Cache: cache.Options{
			DefaultTransform:            cache.TransformStripManagedFields(),
			ReaderFailOnMissingInformer: true,
			ByObject: map[client.Object]cache.ByObject{
				// No informer ever sees a Secret of another namespace.
				&corev1.Secret{}: {Namespaces: map[string]cache.Config{o.KeysNamespace: {}}, UnsafeDisableDeepCopy: &yes},
			},
		},
		NewClient: func(config *rest.Config, options client.Options) (client.Client, error) {
			c, err := client.New(config, options)
			if err != nil {
				return nil, err
			}
			return o.wrap(c), nil
		},
		LeaderElection:                o.LeaderElection,
		LeaderElectionID:              name,
		LeaderElectionNamespace:       o.SystemNamespace,
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       &grace,
		Metrics:                       metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress:        "0",
		// Sources start before leadership, so that a new leader knows what was changed
		// behind the last one's back.
		Controller: config.Controller{SkipNameValidation: &yes, EnableWarmup: &yes},
	}
}

func addControllers(m manager.Manager, o Options, root *keysecret.Root) error {
	metrics, err := newMetrics(o.Registerer)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	s := &store{client: m.GetClient(), live: m.GetAPIReader(), sealer: root.Sealer, namespace: o.KeysNamespace}
	d := newDrift(root.Sealer, o.Now)
	e := &events{recorder: m.GetEventRecorder(name)}
	w := &watcher{store: s, drift: d}
	namespaces := &corev1.Namespace{}

	keys := &keys{store: s, peppers: root.Peppers, accepted: newAccepted(s, d), drift: d, attempts: newAttempts(o.Now), events: e, metrics: metrics, now: o.Now, recoverAfter: o.recoverAfter}
	if err := builder.ControllerManagedBy(m).Named("apikey").For(&v1alpha1.APIKey{}).
		Watches(&corev1.Secret{}, onChange(w.secretForKeys)).
		Watches(&v1alpha1.APIKeyPolicy{}, onChange(w.policyForKeys)).
		WatchesMetadata(namespaces, onChange(w.namespaceForKeys)).
		WithOptions(concurrently(workers)).Complete(keys); err != nil {
		return fmt.Errorf("set up APIKeys: %w", err)
	}
	policies := &policies{store: s, drift: d, events: e, metrics: metrics, now: o.Now, claims: o.claims}
	if err := builder.ControllerManagedBy(m).Named("apikeypolicy").For(&v1alpha1.APIKeyPolicy{}).
		Watches(&corev1.Secret{}, onChange(w.secretForPolicies)).
		WithOptions(concurrently(2)).Complete(policies); err != nil {
		return fmt.Errorf("set up APIKeyPolicies: %w", err)
	}
	sweeper := &sweeper{store: s, drift: d, events: e, metrics: metrics, now: o.Now}
	if err := builder.ControllerManagedBy(m).Named("record").
		Watches(&corev1.Secret{}, onChange(w.secretForSweeper)).
		Watches(&v1alpha1.APIKey{}, onChange(w.keyForSweeper)).
		WithOptions(concurrently(4)).Complete(sweeper); err != nil {
		return fmt.Errorf("set up records: %w", err)
	}
	return nil
}

func concurrently(workers int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](50*time.Millisecond, lastBackoff),
	}
}
