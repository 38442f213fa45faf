package reconcile

import (
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
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

const (
	// workers is how many APIKeys are settled at a time.
	workers = 8
	// lastBackoff is the longest wait after an error.
	lastBackoff = time.Minute
)

// managerOptions are those of one term.
func managerOptions(o Options, scheme *runtime.Scheme) manager.Options {
	grace, renew, retry, yes := 10*time.Second, o.lease*2/3, o.lease/8, true
	return manager.Options{
		Scheme: scheme,
		Logger: logr.FromSlogHandler(o.Log.Handler()),
		Cache: cache.Options{
			DefaultTransform:            cache.TransformStripManagedFields(),
			ReaderFailOnMissingInformer: true,
			ByObject: map[client.Object]cache.ByObject{
				// No informer ever sees a Secret of another namespace.
				&v1alpha1.APIKey{}: {Transform: keepManagers},
				&corev1.Secret{}:   {Namespaces: map[string]cache.Config{o.KeysNamespace: {}}, UnsafeDisableDeepCopy: &yes},
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
		LeaseDuration:                 &o.lease,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
		GracefulShutdownTimeout:       &grace,
		Metrics:                       metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress:        "0",
		// Sources start before leadership, so that a new leader knows what was changed
		// behind the last one's back.
		Controller: config.Controller{SkipNameValidation: &yes, EnableWarmup: &yes},
	}
}

// addControllers adds the three reconcilers.
func addControllers(m manager.Manager, o Options, root *keysecret.Root, metrics *metrics) error {
	s := &store{client: m.GetClient(), live: m.GetAPIReader(), sealer: root.Sealer, namespace: o.KeysNamespace}
	d := newDrift(root.Sealer, o.Now)
	e := &events{recorder: m.GetEventRecorder(name), audit: o.Audit}
	w := &watcher{store: s, drift: d}
	namespaces := &corev1.Namespace{}

	sweeper := &sweeper{store: s, drift: d, events: e, metrics: metrics, now: o.Now, adoptRestored: o.AdoptRestored}
	keys := &keys{
		store: s, peppers: root.Peppers, accepted: newAccepted(s, d), drift: d, attempts: newAttempts(o.Now),
		events: e, metrics: metrics, now: o.Now, restore: sweeper.restore,
		recoverAfter: o.recoverAfter, adoptRestored: o.AdoptRestored, expiringSoon: o.ExpiringSoon,
	}
	if err := builder.ControllerManagedBy(m).Named("apikey").For(&v1alpha1.APIKey{}, builder.WithPredicates(unlessUsage)).
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
