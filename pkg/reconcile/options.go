package reconcile

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/pkg/audit"
	"keygate.dev/keygate/pkg/scrub"
)

// name of the controller: of its lease, its Events and its user agent.
const name = "keygate-controller"

// AllNamespaces, as the one entry of Options.PolicyNamespaces, lets every policy
// decide hosts.
const AllNamespaces = "*"

// DefaultExpiringSoon is how long before its end a key is said to expire soon: 14 days.
const DefaultExpiringSoon = 14 * 24 * time.Hour

const (
	// clientQPS and clientBurst bound the requests to the API server: a mint makes
	// nine, and the API server has its own priority and fairness.
	clientQPS, clientBurst = 1000, 2000
	// defaultRecoverAfter is how long a token that is being delivered is waited for.
	defaultRecoverAfter = 5 * time.Second
	// defaultLease is how long a leader that is not heard of is waited for.
	defaultLease = 15 * time.Second
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
	// ExpiringSoon is how long before its end a key is said to expire soon. Default: 14
	// days.
	ExpiringSoon time.Duration
	// LeaderElection keeps a controller idle while another one leads. Two that run
	// without it do no harm, but the work twice.
	LeaderElection bool
	// AdoptRestored takes over, for an APIKey that nothing was issued for, the validly
	// sealed records of an APIKey of the same namespace and name that is not there any
	// more: after a cluster was restored from a backup, all uids are new. Records without
	// an APIKey are kept meanwhile. Off by default, and to be turned off again: whoever
	// could make an APIKey of another's name would get its keys.
	AdoptRestored bool
	// Log of everything, with key ids in the place of digests. Default: slog.Default().
	Log *slog.Logger
	// Audit takes what happens to keys. Default: a stream on Log.
	Audit *audit.Log
	// Registerer of the metrics. Default: a registry of one's own.
	Registerer prometheus.Registerer
	// Now is the clock. Default: time.Now.
	Now func() time.Time

	// recoverAfter, lease, fenceWithin and turnsEvery, 0 for the defaults, and wrap, nil
	// for none, are for tests.
	recoverAfter time.Duration
	lease        time.Duration
	fenceWithin  time.Duration
	turnsEvery   time.Duration
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
	if o.ExpiringSoon == 0 {
		o.ExpiringSoon = DefaultExpiringSoon
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Log = slog.New(scrub.Handler(o.Log.Handler())) // requests of records are named from digests
	if o.Audit == nil {
		o.Audit = audit.New(o.Log)
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
	if o.lease == 0 {
		o.lease = defaultLease
	}
	if o.fenceWithin == 0 {
		o.fenceWithin = defaultFenceWithin
	}
	if o.turnsEvery == 0 {
		o.turnsEvery = defaultTurnsEvery
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
