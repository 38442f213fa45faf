package usage

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"keygate.dev/keygate/pkg/apikey"
)

// shardCount keeps requests of different APIKeys out of each other's way.
const shardCount = 64

// Collector notes when keys are used. Safe for concurrent use.
type Collector struct {
	// max is how many APIKeys it holds.
	max    int64
	seed   maphash.Seed
	shards [shardCount]shard
	held   atomic.Int64
	// pending counts the APIKeys with a use that is not written.
	pending atomic.Int64
	// dropped counts uses that there was no room for.
	dropped atomic.Int64

	queue queue
}

// shard is a part of the APIKeys.
type shard struct {
	mu sync.Mutex
	// keys maps uid → what is noted of the APIKey.
	keys map[string]*key
	_    [48]byte // a cache line for each mutex
}

// queue holds the keys that are to be written and are not at rest, the one that has
// waited longest first.
type queue struct {
	mu   sync.Mutex
	keys list
	// filled has an element when the queue may have become filled.
	filled chan struct{}
}

// NewCollector makes a Collector of at most maxKeys APIKeys, about 250 bytes each.
func NewCollector(maxKeys int) *Collector {
	c := &Collector{max: int64(maxKeys), seed: maphash.MakeSeed(), queue: queue{filled: make(chan struct{}, 1)}}
	for i := range c.shards {
		c.shards[i].keys = map[string]*key{}
	}
	return c
}

// Used notes that a key let a caller in. It never waits for anything but another
// note. The record is only read.
func (c *Collector) Used(r *apikey.Record, at time.Time) {
	id, minute := binary.BigEndian.Uint64(r.Digest[:]), at.Unix()/60
	s := c.shard(r.Owner.UID)
	s.mu.Lock()
	k := s.keys[r.Owner.UID]
	if k == nil {
		c.admitLocked(s, r.Owner, use{id: id, noted: minute}, at)
	} else if k.note(id, minute) {
		k.since = at.Unix()
		c.pending.Add(1)
	}
	s.mu.Unlock() // not deferred: nothing above panics, and it is a tenth of all
}

// admitLocked notes the first use of an APIKey that is not known, if there is room.
func (c *Collector) admitLocked(s *shard, owner apikey.Ref, first use, at time.Time) {
	if c.held.Add(1) > c.max {
		c.held.Add(-1)
		c.dropped.Add(1)
		return
	}
	k := &key{owner: owner, uses: []use{first}, since: at.Unix()}
	s.keys[owner.UID] = k
	c.pending.Add(1)
	c.queue.push(k)
}

func (c *Collector) shard(uid string) *shard {
	return &c.shards[maphash.String(c.seed, uid)%shardCount]
}

// take returns the key that has waited longest and what is to be written of it; nil
// where there is none.
func (c *Collector) take() (*key, Change) {
	k := c.queue.pop()
	if k == nil {
		return nil, Change{}
	}
	s := c.shard(k.owner.UID)
	s.mu.Lock()
	defer s.mu.Unlock()
	return k, k.change()
}

// settle takes a change of a key for written, or for lost.
func (c *Collector) settle(k *key, change Change) {
	s := c.shard(k.owner.UID)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch all := k.settle(change); {
	case k.since == 0:
	case all:
		k.since = 0
		c.pending.Add(-1)
	default:
		k.since = time.Now().Unix() // used while it was written
	}
}

// rouse ends the rest of a key: it is queued if it was used since, else forgotten.
func (c *Collector) rouse(k *key, now time.Time) {
	s := c.shard(k.owner.UID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.since == 0 {
		delete(s.keys, k.owner.UID)
		c.held.Add(-1)
		return
	}
	k.prune(now.Unix()/60 - 1)
	c.queue.push(k)
}

func (q *queue) push(k *key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.keys.push(k)
	select {
	case q.filled <- struct{}{}:
	default:
	}
}

func (q *queue) pop() *key {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.keys.pop()
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.keys.head == nil
}

// lag is for how long the key at the head of the queue has waited; 0: there is none.
func (q *queue) lag(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.keys.head == nil {
		return 0
	}
	return max(0, now.Sub(time.Unix(q.keys.head.since, 0)))
}
