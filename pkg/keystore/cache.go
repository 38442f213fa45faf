package keystore

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"keygate.dev/keygate/pkg/apikey"
)

const (
	// cacheShards is how many locks a large cache is cut into.
	cacheShards = 16
	// singleShard is the largest capacity, in records, of a cache with one lock. A
	// small cache in shards would evict from a full one while others have room; in a
	// large one that is a matter of less than one in a hundred.
	singleShard = 1 << 16
)

// entry is a record in memory. It is never changed, only superseded.
type entry struct {
	// version is the record's resourceVersion.
	version uint64
	// record is what Lookup hands out.
	record apikey.Record
	// unreadable: record has nothing but its digest; there is such a key, but this
	// version of Keygate can't read what is said of it.
	unreadable bool
}

// recordCache holds the records that were used last. It decides nothing: an entry
// counts only while the index has its digest, and no younger version of it. So the
// two need no common lock, and a lost race costs one read of the API server.
type recordCache struct {
	capacity int
	shards   []cacheShard
}

// cacheShard is one lock and the entries under it.
type cacheShard struct {
	mu      sync.Mutex
	size    int
	entries *simplelru.LRU[apikey.Digest, *entry]
}

// newCache makes a cache of at least one record.
func newCache(capacity int) (*recordCache, error) {
	n := 1
	if capacity > singleShard {
		n = cacheShards
	}
	c := &recordCache{capacity: capacity, shards: make([]cacheShard, n)}
	for i := range c.shards {
		s := &c.shards[i]
		s.size = capacity*(i+1)/n - capacity*i/n
		var err error
		if s.entries, err = simplelru.NewLRU[apikey.Digest, *entry](s.size, nil); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// shard of a digest: by another byte than the index takes.
func (c *recordCache) shard(d apikey.Digest) *cacheShard { return &c.shards[int(d[1])%len(c.shards)] }

// get returns the digest's entry if it is not older than version, else nil.
func (c *recordCache) get(d apikey.Digest, version uint64) *entry {
	s := c.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, found := s.entries.Get(d)
	if !found || e.version < version {
		return nil
	}
	return e
}

// put takes the place of an older entry of the digest. Where there is none, it
// evicts the entry that was used the longest ago only if evict is true: lists and
// updates of records that nobody asks for must not drive out those in use.
func (c *recordCache) put(e *entry, evict bool) {
	s := c.shard(e.record.Digest)
	s.mu.Lock()
	defer s.mu.Unlock()
	old, found := s.entries.Peek(e.record.Digest)
	if found && old.version >= e.version {
		return
	}
	if !found && !evict && s.entries.Len() >= s.size {
		return
	}
	s.entries.Add(e.record.Digest, e)
}

// remove makes room; it is the index that makes a record count no longer.
func (c *recordCache) remove(d apikey.Digest) {
	s := c.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries.Remove(d)
}

// contains reports whether the digest has an entry, of any version.
func (c *recordCache) contains(d apikey.Digest) bool {
	s := c.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries.Contains(d)
}

// len is the number of entries.
func (c *recordCache) len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.entries.Len()
		s.mu.Unlock()
	}
	return n
}
