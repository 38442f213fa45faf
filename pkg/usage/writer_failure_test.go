package usage

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestWriterOutage: nothing is lost in an outage, its end is soon noticed, and the
// API server is not hammered meanwhile.
func TestWriterOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sink := NewCollector(1000), newSink()
		var down atomic.Bool
		down.Store(true)
		sink.answer = func(Change) error {
			if down.Load() {
				return errors.New("connection refused")
			}
			return nil
		}
		stop := run(t, options(c, sink))
		for i, key := range names(200) {
			c.Used(recordOf(key, uint64(i)), time.Now())
		}
		time.Sleep(10 * time.Minute)
		if tried := len(sink.all()); tried < 10 || tried > 40 {
			t.Errorf("%d attempts in ten minutes", tried)
		}
		if pending := c.pending.Load(); pending != 200 {
			t.Errorf("%d are pending", pending)
		}
		down.Store(false)
		time.Sleep(3 * time.Minute)
		if pending := c.pending.Load(); pending != 0 {
			t.Errorf("%d are pending after the outage", pending)
		}
		got := map[string]int{}
		for _, w := range sink.all() {
			got[w.Name]++
		}
		for _, key := range names(200) {
			if got[key] != 1 {
				t.Errorf("%s was written %d times", key, got[key])
			}
		}
		stop()
	})
}

// TestWriterRefused: what the API server does not take holds up nobody else, and is
// given up in the end.
func TestWriterRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sink := NewCollector(10), newSink()
		tried := map[string]int{}
		count := func() map[string]int {
			for _, w := range sink.all() {
				tried[w.Name]++
			}
			return tried
		}
		sink.answer = func(change Change) error {
			switch change.Owner.Name {
			case "bad":
				return &Refused{Err: errors.New("denied by a webhook")}
			case "gone":
				return ErrGone
			}
			return nil
		}
		stop := run(t, options(c, sink))
		for _, key := range []string{"bad", "gone", "good"} {
			c.Used(recordOf(key, 1), time.Now())
		}
		time.Sleep(5 * time.Second)
		if diff := cmp.Diff(map[string]int{"bad": 1, "gone": 1, "good": 1}, count()); diff != "" {
			t.Error(diff)
		}
		time.Sleep(10 * time.Minute)
		if diff := cmp.Diff(map[string]int{"bad": 3, "gone": 1, "good": 1}, count()); diff != "" {
			t.Error(diff)
		}
		if held, pending := c.held.Load(), c.pending.Load(); held != 0 || pending != 0 {
			t.Errorf("%d are remembered, %d pending", held, pending)
		}
		stop()
	})
}

// stored answers as the API server does: times go forward only.
type stored struct {
	last int64
	uses map[uint64]int64
}

func (s *stored) answer(c Change) error {
	refused := &Refused{Err: errors.New("only goes forward")}
	for _, u := range c.Uses {
		refused.Usage = refused.Usage || u.Minute < s.uses[u.ID]
	}
	refused.Last = !c.KeepLast && c.last().Minute < s.last
	if refused.Last || refused.Usage {
		return refused
	}
	for _, u := range c.Uses {
		s.uses[u.ID] = u.Minute
	}
	if !c.KeepLast {
		s.last = c.last().Minute
	}
	return nil
}

// TestWriterForwardOnly: of what another replica has overtaken, the rest is written.
func TestWriterForwardOnly(t *testing.T) {
	type times = map[uint64]int64
	for name, tc := range map[string]struct {
		last             int64 // stored, in minutes after the first one
		before, uses     times
		want             times
		wantLast, writes int64
	}{
		"nothing stored":                  {-9, nil, times{1: 0}, times{1: 0}, 0, 1},
		"an older time":                   {-1, times{1: -1}, times{1: 0}, times{1: 0}, 0, 1},
		"the same time":                   {0, times{1: 0}, times{1: 0}, times{1: 0}, 0, 1},
		"a later time":                    {2, times{1: 2}, times{1: 0}, times{1: 2}, 2, 1},
		"another token's later":           {2, times{2: 2}, times{1: 0}, times{1: 0, 2: 2}, 2, 2},
		"two tokens, one later":           {2, times{1: 2}, times{1: 0, 2: 1}, times{1: 2, 2: 1}, 2, 3},
		"two tokens, the older one later": {1, times{1: 1}, times{1: 0, 2: 2}, times{1: 1, 2: 2}, 2, 3},
		"two tokens, both later":          {3, times{1: 3, 2: 3}, times{1: 0, 2: 1}, times{1: 3, 2: 3}, 3, 3},
		"two tokens, last is later":       {3, nil, times{1: 0, 2: 1}, times{1: 0, 2: 1}, 3, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, sink := NewCollector(10), newSink()
				s := &stored{last: tc.last + sink.epoch, uses: times{}}
				for id, minute := range tc.before {
					s.uses[id] = minute + sink.epoch
				}
				sink.answer = s.answer
				for id, minute := range tc.uses {
					c.Used(recordOf("a", id), time.Now().Add(time.Duration(minute)*time.Minute))
				}
				stop := run(t, options(c, sink))
				time.Sleep(5 * time.Second)
				stop()
				for id := range s.uses {
					s.uses[id] -= sink.epoch
				}
				if diff := cmp.Diff(tc.want, s.uses); diff != "" || s.last-sink.epoch != tc.wantLast {
					t.Errorf("last %d, %s", s.last-sink.epoch, diff)
				}
				if writes := int64(len(sink.all())); writes != tc.writes {
					t.Errorf("%d writes, want %d", writes, tc.writes)
				}
				if pending := c.pending.Load(); pending != 0 {
					t.Errorf("%d pending", pending)
				}
			})
		})
	}
}

// TestWriterFlush: at the end, what is at rest is written too, for as long as it may,
// and no longer.
func TestWriterFlush(t *testing.T) {
	for name, tc := range map[string]struct {
		keys   int
		want   int // or one more
		answer error
		took   time.Duration
	}{
		"little is left":       {keys: 10, want: 10, took: 2 * time.Second},
		"much is left":         {keys: 1000, want: 80, took: 5 * time.Second},
		"nothing is":           {keys: 0, want: 0, took: 0},
		"the API server fails": {keys: 10, answer: errors.New("connection refused"), took: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, sink := NewCollector(10_000), newSink()
				o := options(c, sink)
				o.PerSecond, o.Interval = 20, time.Hour
				stop := run(t, o)
				for i, key := range names(tc.keys) {
					c.Used(recordOf(key, uint64(i)), time.Now())
				}
				time.Sleep(10 * time.Minute) // all are written, and at rest
				sink.all()
				sink.mu.Lock()
				sink.answer = func(Change) error { return tc.answer }
				sink.mu.Unlock()
				for i, key := range names(tc.keys) {
					c.Used(recordOf(key, uint64(i)), time.Now())
				}
				start := time.Now()
				stop()
				if took := time.Since(start); took > tc.took {
					t.Errorf("it took %s, want at most %s", took, tc.took)
				}
				if got := len(sink.all()); tc.answer == nil && got != tc.want && got != tc.want+1 {
					t.Errorf("%d were written, want %d", got, tc.want)
				}
			})
		})
	}
}

// TestWriterLosesTurn: what was under way when the turn was lost is written in the
// next one.
func TestWriterLosesTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sink := NewCollector(100), newSink()
		sink.takes = 100 * time.Millisecond
		o := options(c, sink)
		o.Turns = short{}
		stop := run(t, o)
		for i, key := range names(30) {
			c.Used(recordOf(key, uint64(i)), time.Now())
		}
		time.Sleep(5 * time.Minute)
		if pending := c.pending.Load(); pending != 0 {
			t.Errorf("%d are pending", pending)
		}
		stop()
	})
}

// short is a turn that is lost after two seconds.
type short struct{}

func (short) Take(ctx context.Context, f func(context.Context)) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	f(ctx)
	return nil
}
