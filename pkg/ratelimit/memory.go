package ratelimit

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// memoryShards is how many locks a large Memory is cut into.
	memoryShards = 64
	// singleShard is the largest MaxKeys with one lock: that bound is exact, and the
	// window that ends first of all is the one that makes room.
	singleShard = 1 << 16
	// sweepInterval is how long an ended window may stay in memory.
	sweepInterval = time.Second
	// sweepBatch bounds how many keys are forgotten under one hold of a lock.
	sweepBatch = 256
)

// Options of a [Memory].
type Options struct {
	// MaxKeys is the number of keys with live windows that are remembered: about 115
	// bytes each, and 28 for each window beyond the first. 0 or less: 1,000,000.
	MaxKeys int
	// Registerer takes the metrics. nil: they are not registered.
	Registerer prometheus.Registerer
	// Now is the clock. It must never go back; that of [time.Now] doesn't, because it
	// is monotonic. nil: [time.Now].
	Now func() time.Time
}

// withDefaults fills in what is absent.
func (o Options) withDefaults() Options {
	if o.MaxKeys <= 0 {
		o.MaxKeys = 1_000_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Memory counts in this process's memory. Safe for concurrent use.
//
// A key whose windows have all ended is forgotten within a second or so. When
// MaxKeys are live, a new one takes the place of the key whose windows end the
// soonest, of those under the same lock: that key is then counted from zero, so it
// may get up to twice its limit. The metric keygate_ratelimit_evictions_total says
// how often. With more than 65,536 keys the bound may be passed by as many keys as
// there are locks, 64.
type Memory struct {
	now     func() time.Time
	begin   time.Time
	seeds   [2]maphash.Seed
	shards  []*shard
	bound   bound
	metrics *metrics

	stop   context.CancelFunc
	sweeps sync.WaitGroup
}

// bound is the common bound of a Memory's shards.
type bound struct {
	max int64
	// keys in all shards; above max for a moment while one makes room.
	keys atomic.Int64
	// evictions counts the keys forgotten before their time.
	evictions prometheus.Counter
}

// NewMemory makes a Memory that remembers nothing. Close it to stop its sweeping.
func NewMemory(o Options) *Memory {
	o = o.withDefaults()
	ctx, stop := context.WithCancel(context.Background())
	m := &Memory{
		now: o.Now, begin: o.Now(), seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		metrics: newMetrics(o.Registerer, "memory"), stop: stop,
	}
	m.bound.max = int64(o.MaxKeys)
	m.bound.evictions = m.metrics.observeMemory(func() float64 { return float64(m.bound.keys.Load()) })
	n := 1
	if o.MaxKeys > singleShard {
		n = memoryShards
	}
	for range n {
		m.shards = append(m.shards, newShard(&m.bound))
	}
	m.sweeps.Go(func() { m.sweepUntil(ctx) })
	return m
}

// Take implements [Limiter]. It never waits, so it does not look at ctx; the only
// errors are those of arguments that can't be counted by.
func (m *Memory) Take(_ context.Context, key string, limits []Limit, cost int64) (Result, error) {
	if err := check(key, limits, cost); err != nil {
		m.metrics.failed.Inc()
		return Result{}, err
	}
	result := Result{Allowed: true}
	if len(limits) > 0 {
		result.Windows = make([]Window, len(limits))
		id := m.identify(key)
		s := m.shards[int(id[0])%len(m.shards)]
		s.mu.Lock()
		result.RetryAfter = s.takeLocked(id, m.elapsed(), limits, cost, result.Windows)
		s.mu.Unlock()
		result.Allowed = result.RetryAfter == 0
	}
	m.metrics.decided(result.Allowed)
	return result, nil
}

// identify stands 16 bytes for a key, by two hashes with random seeds. That two of
// a million keys share them is as likely as guessing a random 88-bit number.
func (m *Memory) identify(key string) (id keyID) {
	binary.LittleEndian.PutUint64(id[:8], maphash.String(m.seeds[0], key))
	binary.LittleEndian.PutUint64(id[8:], maphash.String(m.seeds[1], key))
	return id
}

// elapsed is the time since m was made.
func (m *Memory) elapsed() time.Duration { return m.now().Sub(m.begin) }

// Close stops the sweeping and waits for its end. Call it once nothing takes any
// more: what has ended would no longer be forgotten.
func (m *Memory) Close() {
	m.stop()
	m.sweeps.Wait()
}

// sweepUntil forgets keys until ctx ends.
func (m *Memory) sweepUntil(ctx context.Context) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			m.sweep()
		}
	}
}

// sweep forgets the keys whose windows have ended, a few under each hold of a lock.
func (m *Memory) sweep() {
	for _, s := range m.shards {
		for s.forget(m.elapsed(), sweepBatch) {
		}
	}
}
