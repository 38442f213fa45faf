package usage

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestCollectorIsBounded: what there is no room for is counted, and does not hold up
// what is known; there is room again once something was written and is idle.
func TestCollectorIsBounded(t *testing.T) {
	c, now := NewCollector(2), time.Unix(1_800_000_000, 0)
	for range 3 {
		for _, name := range []string{"a", "b", "c", "d"} {
			c.Used(recordOf(name, 1), now)
		}
	}
	if held, pending, dropped := c.held.Load(), c.pending.Load(), c.dropped.Load(); held != 2 || pending != 2 || dropped != 6 {
		t.Errorf("%d held, %d pending, %d dropped", held, pending, dropped)
	}
	k, change := c.take()
	c.settle(k, change)
	c.Used(recordOf("c", 1), now)
	if dropped := c.dropped.Load(); dropped != 7 {
		t.Error("a key that is at rest made room")
	}
	c.rouse(k, now)
	c.Used(recordOf("c", 1), now)
	if held, pending, dropped := c.held.Load(), c.pending.Load(), c.dropped.Load(); held != 2 || pending != 2 || dropped != 7 {
		t.Errorf("then %d held, %d pending, %d dropped", held, pending, dropped)
	}
}

// TestCollectorGoesForward: a clock that goes back takes nothing back, and what is
// noted during a write is not lost with it.
func TestCollectorGoesForward(t *testing.T) {
	c, now := NewCollector(2), time.Unix(1_800_000_000, 0)
	r := recordOf("a", 7)
	c.Used(r, now)
	c.Used(r, now.Add(-time.Hour))
	k, change := c.take()
	if len(change.Uses) != 1 || change.Uses[0] != (Use{7, now.Unix() / 60}) {
		t.Errorf("to be written: %+v", change)
	}
	c.Used(r, now.Add(time.Minute)) // while it is written
	c.Used(recordOf("a", 8), now)
	c.settle(k, change)
	if pending := c.pending.Load(); pending != 1 {
		t.Errorf("%d pending", pending)
	}
	c.rouse(k, now)
	k, change = c.take()
	if len(change.Uses) != 2 || change.Uses[0] != (Use{7, now.Unix()/60 + 1}) || change.Uses[1] != (Use{8, now.Unix() / 60}) {
		t.Errorf("then: %+v", change)
	}
	c.settle(k, change)
	if pending := c.pending.Load(); pending != 0 {
		t.Errorf("%d pending after all", pending)
	}
}

// TestCollectorForgetsTokens: an APIKey that rotates for years has few tokens at a
// time.
func TestCollectorForgetsTokens(t *testing.T) {
	c, now := NewCollector(2), time.Unix(1_800_000_000, 0)
	for token := range uint64(1000) {
		c.Used(recordOf("a", token), now)
		k, change := c.take()
		if len(change.Uses) != 1 || change.Uses[0].ID != token {
			t.Fatalf("token %d: %+v", token, change)
		}
		c.settle(k, change)
		now = now.Add(time.Hour)
		c.Used(recordOf("a", token+1), now)
		c.rouse(k, now)
		if len(k.uses) > 2 {
			t.Fatalf("%d tokens are remembered", len(k.uses))
		}
	}
}

// TestCollectorConcurrently notes from everywhere while a writer takes: nothing is
// lost, and all is accounted for.
func TestCollectorConcurrently(t *testing.T) {
	c, start := NewCollector(100), time.Unix(1_800_000_000, 0)
	keys := names(100)
	var noting sync.WaitGroup
	for range 8 {
		noting.Go(func() {
			for minute := range int64(200) {
				for range 20 {
					c.Used(recordOf(keys[rand.IntN(100)], rand.Uint64N(3)), start.Add(time.Duration(minute)*time.Minute))
				}
			}
			for _, key := range keys {
				c.Used(recordOf(key, 2), start.Add(200*time.Minute))
			}
		})
	}
	done, last := make(chan struct{}), map[string]int64{}
	go func() { noting.Wait(); close(done) }()
	for over := false; !over || c.pending.Load() > 0; {
		select {
		case <-done:
			over = true
		default:
		}
		k, change := c.take()
		if k == nil {
			runtime.Gosched()
			continue
		}
		last[change.Owner.Name] = max(last[change.Owner.Name], change.last().Minute)
		c.settle(k, change)
		c.rouse(k, start)
		_ = c.queue.lag(start)
	}
	for _, key := range keys {
		if last[key] != start.Unix()/60+200 {
			t.Errorf("%s was last used in minute %d", key, last[key]-start.Unix()/60)
		}
	}
	if dropped := c.dropped.Load(); dropped != 0 {
		t.Errorf("%d dropped", dropped)
	}
	for k := c.queue.pop(); k != nil; k = c.queue.pop() {
		c.rouse(k, start)
	}
	if held := c.held.Load(); held != 0 {
		t.Errorf("%d held", held)
	}
}

// TestUsedDoesNotAllocate: of a key that is known.
func TestUsedDoesNotAllocate(t *testing.T) {
	c, r, now := NewCollector(2), recordOf("a", 1), time.Unix(1_800_000_000, 0)
	if allocs := testing.AllocsPerRun(1000, func() { now = now.Add(time.Second); c.Used(r, now) }); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkUsed(b *testing.B) {
	c, now := NewCollector(1000), time.Now()
	r := recordOf("a", 1)
	b.Run("one key", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Used(r, now)
		}
	})
	b.Run("one key, from everywhere", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				c.Used(r, now)
			}
		})
	})
}

// BenchmarkHeld is the memory of an APIKey that waits to be written.
func BenchmarkHeld(b *testing.B) {
	c, now := NewCollector(1<<30), time.Now()
	records := make([]string, 0, 100_000)
	records = append(records, names(100_000)...)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for b.Loop() {
		for i, name := range records {
			c.Used(recordOf(name, uint64(i)), now)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(c.held.Load()), "bytes/APIKey")
	runtime.KeepAlive(c)
}
