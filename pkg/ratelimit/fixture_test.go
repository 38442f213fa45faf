package ratelimit

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// clock is told the time.
type clock struct {
	mu  sync.Mutex
	now time.Time
	// told is called with each new time.
	told func(time.Time)
}

func newClock() *clock { return &clock{now: time.Unix(1_700_000_000, 0), told: func(time.Time) {}} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.told(c.now)
}

// backend is a limiter under a clock that the test advances.
type backend struct {
	Limiter
	*clock
	// tick is the smallest time that the backend can tell apart.
	tick time.Duration
}

// backends are the ways to make each kind of limiter.
var backends = map[string]func(*testing.T) *backend{
	"memory": func(t *testing.T) *backend {
		c := newClock()
		return &backend{Limiter: newTestMemory(t, Options{Now: c.Now}), clock: c, tick: time.Nanosecond}
	},
	"redis": newClockedRedis,
}

func newTestMemory(tb testing.TB, o Options) *Memory {
	tb.Helper()
	m := NewMemory(o)
	tb.Cleanup(m.Close)
	return m
}

// newClockedRedis runs the script in a real Redis, but has it read the time from
// two values there, and lets nothing expire: the time of the test passes otherwise
// than the server's.
func newClockedRedis(t *testing.T) *backend {
	r := newTestRedis(t, RedisOptions{URL: startRedis(t).url})
	source := takeScript
	for old, replacement := range map[string]string{
		"redis.call('TIME')":                             "redis.call('MGET', 'seconds', 'microseconds')",
		", 'PX', math.ceil((last - now) / 1000) + 1000)": ")",
	} {
		if strings.Count(source, old) != 1 {
			t.Fatalf("the script does not hold %q once", old)
		}
		source = strings.Replace(source, old, replacement, 1)
	}
	r.script = redis.NewScript(source)
	c := newClock()
	c.told = func(now time.Time) {
		err := r.client.MSet(context.Background(), "seconds", now.Unix(), "microseconds", now.Nanosecond()/1000).Err()
		if err != nil {
			t.Errorf("set the time: %v", err)
		}
	}
	c.advance(0)
	return &backend{Limiter: r, clock: c, tick: time.Microsecond}
}

// newTestRedis makes a Redis that waits long, so that a busy machine fails nothing.
func newTestRedis(tb testing.TB, o RedisOptions) *Redis {
	tb.Helper()
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(tb.Output(), nil))
	}
	r, err := NewRedis(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// take takes and fails the test if that fails.
func take(tb testing.TB, l Limiter, key string, limits []Limit, cost int64) Result {
	tb.Helper()
	result, err := l.Take(tb.Context(), key, limits, cost)
	if err != nil {
		tb.Fatal(err)
	}
	return result
}

// eventually waits until check returns nil.
func eventually(tb testing.TB, check func() error) {
	tb.Helper()
	deadline := time.After(30 * time.Second)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			tb.Fatalf("still after 30 s: %v", err)
		case <-ticker.C:
		}
	}
}

// equal fails the test if got is not what is wanted.
func equal(tb testing.TB, what string, want, got any) {
	tb.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		tb.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// allowed is a result of windows that had room.
func allowed(windows ...Window) Result { return Result{Allowed: true, Windows: windows} }

// limited is a result of windows of which one had none.
func limited(retryAfter time.Duration, windows ...Window) Result {
	return Result{RetryAfter: retryAfter, Windows: windows}
}

// per is a limit.
func per(requests int64, per time.Duration) Limit { return Limit{Requests: requests, Per: per} }

// takeMany asks n times at once, from all limiters in turn, and returns how many
// requests were allowed.
func takeMany(tb testing.TB, limiters []Limiter, n int, key string, limits []Limit) (allowed int) {
	tb.Helper()
	results := make(chan bool, n)
	start := make(chan struct{})
	for i := range n {
		go func() {
			<-start
			result, err := limiters[i%len(limiters)].Take(context.Background(), key, limits, 1)
			if err != nil {
				tb.Error(fmt.Errorf("take: %w", err))
			}
			results <- result.Allowed
		}()
	}
	close(start)
	for range n {
		if <-results {
			allowed++
		}
	}
	return allowed
}
