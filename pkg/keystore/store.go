package keystore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

// Options of a [Store].
type Options struct {
	// Client and Metadata reach the API server. Required. Their rate limits bound
	// how many records that are not cached can be read: leave them off.
	Client   kubernetes.Interface
	Metadata metadata.Interface
	// SystemNamespace holds the root Secret, KeysNamespace everything else. Required.
	SystemNamespace, KeysNamespace string
	// CacheSize is the number of records in memory. 0: 1,000,000.
	CacheSize int
	// RelistInterval is the time between checks of the index against a list of names.
	// 0: 10 minutes.
	RelistInterval time.Duration
	// FetchTimeout bounds one read of a record that is not cached. 0: 1 second.
	FetchTimeout time.Duration
	// Log is told what operators must know. nil: [slog.Default].
	Log *slog.Logger
	// Registerer takes the metrics. nil: they are not registered.
	Registerer prometheus.Registerer
	// Now is the clock. nil: [time.Now].
	Now func() time.Time
}

// withDefaults checks o and fills in what is absent.
func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Client == nil || o.Metadata == nil:
		return o, errors.New("a key store needs a client and a metadata client")
	case o.SystemNamespace == "" || o.KeysNamespace == "":
		return o, errors.New("a key store needs a system namespace and a keys namespace")
	case o.CacheSize < 0 || o.RelistInterval < 0 || o.FetchTimeout < 0:
		return o, errors.New("a key store's sizes and times are not negative")
	}
	if o.CacheSize == 0 {
		o.CacheSize = 1_000_000
	}
	if o.RelistInterval == 0 {
		o.RelistInterval = 10 * time.Minute
	}
	if o.FetchTimeout == 0 {
		o.FetchTimeout = time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// Store is the key store. Safe for concurrent use.
type Store struct {
	options Options
	root    atomic.Pointer[keysecret.Root]

	feed     *feed
	rootFeed *rootFeed
	relister *relister
	fetcher  *fetcher
	metrics  *metrics
}

// New makes a Store that knows nothing until [Store.Run] runs. The error is that of
// Options that can't work.
func New(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	records, err := newCache(o.CacheSize)
	if err != nil {
		return nil, err
	}
	s := &Store{options: o, metrics: newMetrics(o.Registerer)}
	decoder := &decoder{root: &s.root, interner: newInterner(), rejections: newRejections(), metrics: s.metrics, log: o.Log}
	s.feed = &feed{
		listWatch: &listWatch{
			secrets:  o.Client.CoreV1().Secrets(o.KeysNamespace),
			selector: keysSelector,
			metrics:  s.metrics.feed(kindKeys),
		},
		decoder: decoder, index: newIndex(), cache: records, policies: newPolicies(),
		now: o.Now, log: o.Log, again: make(chan struct{}, 1),
	}
	s.feed.begin = s.feed.keepItems
	s.rootFeed = &rootFeed{
		listWatch: &listWatch{
			secrets:  o.Client.CoreV1().Secrets(o.SystemNamespace),
			selector: fields.OneTermEqualSelector(metav1.ObjectNameField, keysecret.RootName).String(),
			begin:    keepSecret,
			metrics:  s.metrics.feed(kindRoot),
		},
		root: &s.root, metrics: s.metrics, log: o.Log, first: make(chan struct{}), changed: s.rereadAll,
	}
	get := func(ctx context.Context, name string) (*corev1.Secret, error) {
		return s.feed.secrets.Get(ctx, name, metav1.GetOptions{})
	}
	s.fetcher = &fetcher{get: get, timeout: o.FetchTimeout, decoder: decoder, feed: s.feed}
	s.relister = &relister{
		names: o.Metadata.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(o.KeysNamespace),
		get:   get, timeout: o.FetchTimeout, limit: maxRepairs, feed: s.feed, metrics: s.metrics, log: o.Log,
	}
	s.metrics.observe(s)
	return s, nil
}

// rereadAll judges every object anew: the keys that they are sealed with changed.
func (s *Store) rereadAll() {
	s.feed.decoder.rejections.forget()
	s.feed.relistAll()
}

// Run feeds the store until ctx ends, and returns nil when all that it started has
// ended. Call it once.
func (s *Store) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.rootFeed.run(ctx) })
	select {
	case <-s.rootFeed.first:
	case <-ctx.Done():
		return nil
	}
	running.Go(func() { s.feed.run(ctx) })
	running.Go(func() { s.feed.watchForStalls(ctx) })
	running.Go(func() { s.relister.run(ctx, s.options.RelistInterval) })
	return nil
}

// Synced reports whether the root Secret and a list of all keys and policies were
// read. It does not become false again: in an outage the last good state stays in
// force.
func (s *Store) Synced() bool { return s.feed.synced.Load() }

// Digests appends the digests that a token may be stored under to dst, the most
// likely first. Where no pepper is known yet it appends one that no key has, of
// which [Store.Lookup] can't tell.
func (s *Store) Digests(dst []apikey.Digest, token []byte) []apikey.Digest {
	root := s.root.Load()
	if root == nil {
		return append(dst, apikey.Digest{})
	}
	return root.Peppers.Digests(dst, token)
}

// Policies are the accepted policies as of now: never nil, and never changed once
// returned.
func (s *Store) Policies() *policy.Table { return s.feed.policies.table.Load() }

// lookupAttempts bounds how often a record that keeps changing is read.
const lookupAttempts = 4

// Lookup finds the record of a digest. nil without an error: there is no such key,
// for certain. An error: nobody can tell now, because the store is not synced, or
// the record is not cached and can't be read. Nothing is remembered of an error.
//
// The record is shared and must not be changed. It lacks what only rebuilds status
// (Hint, IssuedAt, DeliveredAt, DeliveryUID, HandedOver, Revision). It
// may be of any state, and expired: judging that is the caller's.
func (s *Store) Lookup(ctx context.Context, d apikey.Digest) (*apikey.Record, error) {
	if !s.Synced() {
		s.metrics.lookupFailed.Inc()
		return nil, errNotSynced
	}
	var fetched *entry
	for attempt := 0; ; attempt++ {
		version := s.feed.index.version(d)
		if version == 0 {
			s.metrics.lookupAbsent.Inc()
			return nil, nil
		}
		if fetched != nil && fetched.version >= version {
			return s.found(fetched, s.metrics.lookupFetched)
		}
		if e := s.feed.cache.get(d, version); e != nil {
			return s.found(e, s.metrics.lookupHit)
		}
		if attempt == lookupAttempts {
			s.metrics.lookupFailed.Inc()
			return nil, fmt.Errorf("key %s: %w", d.ID(), errUnsettled)
		}
		var err error
		if fetched, err = s.fetcher.fetch(ctx, d); err != nil {
			s.metrics.lookupFailed.Inc()
			return nil, err
		}
	}
}

// found is the answer of an entry, counted.
func (s *Store) found(e *entry, result prometheus.Counter) (*apikey.Record, error) {
	if e.unreadable {
		s.metrics.lookupFailed.Inc()
		return nil, fmt.Errorf("key %s: %w", e.record.Digest.ID(), errUnreadable)
	}
	result.Inc()
	return &e.record, nil
}
