package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// fill takes once for each of the keys from first to last.
func fill(tb testing.TB, m *Memory, first, last int, limits []Limit) {
	tb.Helper()
	for n := first; n <= last; n++ {
		take(tb, m, strconv.Itoa(n), limits, 1)
	}
}

// remembers reports whether a key has a window by a limit.
func remembers(tb testing.TB, m *Memory, key int, limit Limit) bool {
	tb.Helper()
	windows := take(tb, m, strconv.Itoa(key), []Limit{limit}, limit.Requests+1).Windows
	return windows[0].Remaining < limit.Requests
}

// sound fails the test if what a Memory holds does not fit together.
func sound(tb testing.TB, m *Memory) {
	tb.Helper()
	total := 0
	for _, s := range m.shards {
		t := &s.table
		total += len(t.order)
		if len(t.places) != len(t.order) || t.accounts.len()-len(t.accounts.free) != len(t.order) {
			tb.Fatalf("%d places, %d ranks, %d accounts of which %d are free", len(t.places), len(t.order), t.accounts.len(), len(t.accounts.free))
		}
		counts := len(t.counts.free)
		for rank, place := range t.order {
			a := t.accounts.at(place)
			if a.rank != uint32(rank) || t.places[a.id] != place {
				tb.Fatalf("the account of rank %d has rank %d and place %d, not %d", rank, a.rank, t.places[a.id], place)
			}
			if above := t.accounts.at(t.order[max(0, rank-1)/2]); above.end > a.end {
				tb.Fatalf("rank %d ends at %v, the one above it at %v", rank, a.end, above.end)
			}
			end := time.Duration(0)
			for i := a.first; i != none; i = t.counts.at(i).next {
				end = max(end, t.counts.at(i).end)
				counts++
			}
			if end != a.end {
				tb.Fatalf("an account ends at %v, its windows at %v", a.end, end)
			}
		}
		if counts != t.counts.len() {
			tb.Fatalf("%d windows in use or free, of %d", counts, t.counts.len())
		}
	}
	if got := m.bound.keys.Load(); got != int64(total) {
		tb.Fatalf("%d keys counted, %d held", got, total)
	}
}

// TestMemoryStaysSound does everything at random, with hardly any room.
func TestMemoryStaysSound(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	c := newClock()
	m := newTestMemory(t, Options{MaxKeys: 50, Now: c.Now})
	for range 20_000 {
		limits := [][]Limit{second(3), hour(3), both(3, 9), {per(5, time.Minute)}}[random.IntN(4)]
		take(t, m, strconv.Itoa(random.IntN(80)), limits, 1+random.Int64N(2))
		c.advance(time.Duration(random.Int64N(int64(200 * time.Millisecond))))
		if random.IntN(50) == 0 {
			m.sweep()
		}
		if random.IntN(2000) == 0 {
			c.advance(2 * time.Hour)
		}
		sound(t, m)
	}
}

func TestMemoryForgetsWhatHasEnded(t *testing.T) {
	c := newClock()
	m := newTestMemory(t, Options{Now: c.Now})
	fill(t, m, 1, 10, hour(2))
	fill(t, m, 11, 100_000, second(2))
	c.advance(time.Second - 1)
	m.sweep()
	if got := m.bound.keys.Load(); got != 100_000 {
		t.Errorf("%d keys a moment before the windows end, want 100000", got)
	}
	c.advance(1)
	m.sweep()
	if got := m.bound.keys.Load(); got != 10 {
		t.Errorf("%d keys after most windows ended, want 10", got)
	}
	sound(t, m)
	for _, s := range m.shards {
		if room := cap(s.table.accounts.items) + cap(s.table.counts.items); room > 20 {
			t.Fatalf("a shard keeps room for %d accounts and windows", room)
		}
	}
	equal(t, "a key that stayed", allowed(Window{per(2, time.Hour), 0, time.Hour - time.Second}), take(t, m, "7", hour(2), 1))
}

// TestMemorySweepsItself uses the real clock.
func TestMemorySweepsItself(t *testing.T) {
	m := newTestMemory(t, Options{})
	fill(t, m, 1, 100, second(1))
	eventually(t, func() error {
		if keys := m.bound.keys.Load(); keys > 0 {
			return fmt.Errorf("%d keys are still remembered", keys)
		}
		return nil
	})
}

func TestMemoryMakesRoom(t *testing.T) {
	c := newClock()
	m := newTestMemory(t, Options{MaxKeys: 3, Now: c.Now})
	take(t, m, "1", hour(5), 1)
	take(t, m, "2", []Limit{per(5, time.Second), per(5, time.Minute)}, 1)
	take(t, m, "3", hour(5), 1)
	c.advance(time.Second)
	take(t, m, "4", hour(5), 1) // of the keys, 2 ends first
	for key, want := range map[int]bool{1: true, 2: false, 3: true, 4: true} {
		if got := remembers(t, m, key, per(5, time.Hour)); got != want {
			t.Errorf("key %d remembered: %v, want %v", key, got, want)
		}
	}
	if remembers(t, m, 2, per(5, time.Minute)) {
		t.Error("key 2 is remembered")
	}
	take(t, m, "2", second(5), 1) // 1 and 3 end first, and at the same time
	c.advance(time.Second)
	take(t, m, "5", hour(5), 1) // 2 has ended
	if got := m.bound.keys.Load(); got != 3 {
		t.Errorf("%d keys, want 3", got)
	}
	if !remembers(t, m, 4, per(5, time.Hour)) || !remembers(t, m, 5, per(5, time.Hour)) {
		t.Error("a key that ends last was forgotten")
	}
	sound(t, m)
}

// TestMemoryMakesRoomOnlyForWhatIsCounted turns away requests of unknown keys.
func TestMemoryMakesRoomOnlyForWhatIsCounted(t *testing.T) {
	m := newTestMemory(t, Options{MaxKeys: 1})
	take(t, m, "1", hour(5), 1)
	take(t, m, "2", hour(5), 6)
	take(t, m, "3", nil, 1)
	if !remembers(t, m, 1, per(5, time.Hour)) {
		t.Error("a request that charged nothing took the place of a key")
	}
}

// TestMemoryBound fills a Memory with many shards, to the brim and beyond.
func TestMemoryBound(t *testing.T) {
	const most = 100_000
	m := newTestMemory(t, Options{MaxKeys: most})
	fill(t, m, 1, most, hour(2))
	for key := 1; key <= most; key++ {
		if !remembers(t, m, key, per(2, time.Hour)) {
			t.Fatalf("key %d of %d was forgotten", key, most)
		}
	}
	for i, s := range m.shards {
		if got, want := len(s.table.order), most/memoryShards; got < want/2 || got > want*2 {
			t.Errorf("shard %d holds %d keys, want about %d", i, got, want)
		}
	}
	fill(t, m, most+1, 2*most, hour(2))
	if got := m.bound.keys.Load(); got > most+memoryShards {
		t.Errorf("%d keys, want %d at most", got, most)
	}
	sound(t, m)
}

// TestMemoryBytesPerKey holds the doc comment of Options to its word.
func TestMemoryBytesPerKey(t *testing.T) {
	const keys, most = 100_000, 150
	if got := bytesPerKey(t, keys, hour(2)); got > most {
		t.Errorf("%.0f bytes for each key, want %d at most", got, most)
	}
}

// bytesPerKey is what a Memory takes up that has been filled with keys.
func bytesPerKey(tb testing.TB, keys int, limits []Limit) float64 {
	tb.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := newTestMemory(tb, Options{MaxKeys: keys})
	fill(tb, m, 1, keys, limits)
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(m)
	return (float64(after.HeapAlloc) - float64(before.HeapAlloc)) / float64(keys)
}
