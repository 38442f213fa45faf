package keystore

import (
	"testing"
)

func newTestCache(t *testing.T, capacity int) *recordCache {
	t.Helper()
	c, err := newCache(capacity)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testEntry(n int, version uint64) *entry {
	return &entry{version: version, record: *record(digest(n))}
}

// TestCacheEviction fills a cache of three and puts a fourth.
func TestCacheEviction(t *testing.T) {
	for name, tc := range map[string]struct {
		evict bool
		want  [4]bool
	}{
		"who is asked for evicts the one that was used the longest ago": {true, [4]bool{true, false, true, true}},
		"who is only listed evicts nobody":                              {false, [4]bool{true, true, true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestCache(t, 3)
			for n := range 3 {
				c.put(testEntry(n, 1), false)
			}
			c.get(digest(0), 1)
			c.put(testEntry(3, 1), tc.evict)
			for n, want := range tc.want {
				if got := c.contains(digest(n)); got != want {
					t.Errorf("entry %d: %v, want %v", n, got, want)
				}
			}
			if c.len() != 3 {
				t.Errorf("%d entries, want 3", c.len())
			}
		})
	}
}

func TestCacheVersions(t *testing.T) {
	c := newTestCache(t, 1)
	c.put(testEntry(1, 5), true)
	if c.get(digest(1), 6) != nil {
		t.Error("an entry older than asked for was given out")
	}
	if c.get(digest(1), 5) == nil {
		t.Error("the entry was not given out")
	}
	c.put(testEntry(1, 4), true)
	if c.get(digest(1), 5) == nil {
		t.Error("an older entry took the place of a younger one")
	}
	c.put(testEntry(1, 6), false)
	if c.get(digest(1), 6) == nil {
		t.Error("a younger entry did not take the place of an older one")
	}
	c.remove(digest(1))
	if c.len() != 0 {
		t.Error("the entry was not removed")
	}
}

// TestCacheCapacity checks that shards add up to the capacity, and that a small
// cache is one shard, which evicts in true order of use.
func TestCacheCapacity(t *testing.T) {
	for _, capacity := range []int{1, 100, singleShard, singleShard + 1, 1_000_000, 1_000_003} {
		c := newTestCache(t, capacity)
		total := 0
		for i := range c.shards {
			total += c.shards[i].size
		}
		if total != capacity {
			t.Errorf("capacity %d: shards hold %d", capacity, total)
		}
		if capacity <= singleShard && len(c.shards) != 1 {
			t.Errorf("capacity %d: %d shards, want 1", capacity, len(c.shards))
		}
	}
	c := newTestCache(t, singleShard+1)
	for n := range 10_000 {
		c.put(testEntry(n, 1), true)
	}
	for n := range 10_000 {
		if c.get(digest(n), 1) == nil {
			t.Fatalf("entry %d of a cache with room was evicted", n)
		}
	}
}
