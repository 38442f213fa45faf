package usage

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// use is a write of one token of an APIKey.
func one(name string, token uint64, minute int64) written {
	return written{name, map[uint64]int64{token: minute}, true}
}

// TestWriterCoalesces: however many requests there are, an APIKey is written once an
// interval, with the last minute of each of its tokens, and an idle one never again.
func TestWriterCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sink := NewCollector(10), newSink()
		stop := run(t, options(c, sink))
		call := func(record string, token uint64) { c.Used(recordOf(record, token), time.Now()) }
		for range 100 {
			call("a", 1)
			call("a", 2)
			call("b", 3)
		}
		time.Sleep(10 * time.Second)
		want := []written{{"a", map[uint64]int64{1: 0, 2: 0}, true}, one("b", 3, 0)}
		if diff := cmp.Diff(want, sink.all()); diff != "" {
			t.Errorf("the first uses: %s", diff)
		}
		call("a", 1) // in the same minute
		time.Sleep(80 * time.Second)
		if diff := cmp.Diff([]written(nil), sink.all()); diff != "" {
			t.Errorf("the same minute is written again: %s", diff)
		}
		if held := c.held.Load(); held != 0 {
			t.Errorf("%d idle APIKeys are remembered", held)
		}
		for range 190 { // from 1:30 to 4:40, once a second
			call("a", 2)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		var minutes []int64
		for _, w := range sink.all() {
			minutes = append(minutes, w.Uses[2])
		}
		if diff := cmp.Diff([]int64{1, 2, 3, 4}, minutes); diff != "" {
			t.Errorf("steady use: %s", diff)
		}
		stop()
	})
}

// TestWriterInterval: a longer interval is kept, and what was used meanwhile is
// written at its end.
func TestWriterInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sink := NewCollector(10), newSink()
		o := options(c, sink)
		o.Interval = 10 * time.Minute
		stop := run(t, o)
		c.Used(recordOf("a", 1), time.Now())
		time.Sleep(3 * time.Minute)
		c.Used(recordOf("a", 1), time.Now())
		time.Sleep(6 * time.Minute)
		if diff := cmp.Diff([]written{one("a", 1, 0)}, sink.all()); diff != "" {
			t.Errorf("within the interval: %s", diff)
		}
		time.Sleep(2 * time.Minute)
		if diff := cmp.Diff([]written{one("a", 1, 3)}, sink.all()); diff != "" {
			t.Errorf("after it: %s", diff)
		}
		stop()
	})
}

// TestWriterPace: a backlog is written in the order in which it came about, with
// never more writes in a second than there may be, also where each takes long.
func TestWriterPace(t *testing.T) {
	for name, takes := range map[string]time.Duration{"at once": 0, "in 7 ms": 7 * time.Millisecond, "in 300 ms": 300 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, sink := NewCollector(1000), newSink()
				sink.takes = takes
				var want []string
				for i, key := range names(1000) {
					c.Used(recordOf(key, uint64(i)), time.Now().Add(-time.Hour))
					want = append(want, key)
				}
				start := time.Now()
				stop := run(t, options(c, sink))
				for c.pending.Load() > 0 {
					time.Sleep(time.Second)
				}
				took := time.Since(start)
				stop()
				var got []string
				for _, w := range sink.all() {
					got = append(got, w.Name)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				if most := busiest(sink.begun); most > 20 {
					t.Errorf("%d writes in a second", most)
				}
				if limit := time.Minute; takes < 10*time.Millisecond && took > limit {
					t.Errorf("1,000 took %s, want at most %s", took, limit)
				}
			})
		})
	}
}

// TestWriterDelay is what docs/operating.md says of 100,000 APIKeys that are used at
// once: the last one is written after an hour and a half or so.
func TestWriterDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sink := NewCollector(200_000), newSink()
		sink.takes = 3 * time.Millisecond
		for i, key := range names(100_000) {
			c.Used(recordOf(key, uint64(i)), time.Now())
		}
		start := time.Now()
		stop := run(t, options(c, sink))
		for c.pending.Load() > 0 {
			time.Sleep(time.Minute)
		}
		if took := time.Since(start); took < 83*time.Minute || took > 100*time.Minute {
			t.Errorf("it took %s", took)
		}
		stop()
		if most, writes := busiest(sink.begun), len(sink.all()); most > 20 || writes != 100_000 {
			t.Errorf("%d writes, %d in a second", writes, most)
		}
	})
}
