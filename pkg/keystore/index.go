package keystore

import (
	"sync"

	"keygate.dev/keygate/pkg/apikey"
)

// indexShards is how many locks the index is cut into.
const indexShards = 64

// index is every digest that has a record, with that record's resourceVersion: the
// truth about which keys there are. It holds whole digests, so nothing collides,
// and no pointers, so that the garbage collector does not look into it.
type index struct {
	shards [indexShards]indexShard
}

// indexShard is the digests whose first byte falls to it.
type indexShard struct {
	mu sync.RWMutex
	// versions: digest → resourceVersion, never 0.
	versions table
	// deletions counts deletions that were heard of; see admit.
	deletions uint64
}

func newIndex() *index { return &index{} }

// shard of a digest. Digests are uniformly random: any byte will do.
func (x *index) shard(d apikey.Digest) *indexShard { return &x.shards[shardOf(d)] }

func shardOf(d apikey.Digest) int { return int(d[0]) % indexShards }

// version is the resourceVersion of the digest's record, 0 where there is none.
func (x *index) version(d apikey.Digest) uint64 {
	s := x.shard(d)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.versions.get(d)
}

// advance takes in what the watch says: the digest has a record of this version.
// It reports whether that is news.
func (x *index) advance(d apikey.Digest, version uint64) bool {
	s := x.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raiseLocked(d, version)
}

// confirm takes in what a live read of an indexed digest says. It reports whether
// that counts: a digest removed or advanced further meanwhile is left alone.
func (x *index) confirm(d apikey.Digest, version uint64) bool {
	s := x.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.versions.get(d)
	if known == 0 || version < known {
		return false
	}
	s.versions.set(d, version)
	return true
}

// deletions is the number to hand to admit, read before the live read begins.
func (x *index) deletions(d apikey.Digest) uint64 {
	s := x.shard(d)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.deletions
}

// admit takes in what a live read of a digest says that may not be indexed yet. A
// read that began after the last deletion can't be older than that deletion; of one
// that began before, nobody knows, so it is not taken in. It reports whether the
// record was news.
func (x *index) admit(d apikey.Digest, version, deletions uint64) bool {
	s := x.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.versions.get(d) == 0 && s.deletions != deletions {
		return false
	}
	return s.raiseLocked(d, version)
}

func (s *indexShard) raiseLocked(d apikey.Digest, version uint64) bool {
	if version <= s.versions.get(d) {
		return false
	}
	s.versions.set(d, version)
	return true
}

// remove forgets a digest whose record is gone as of a version: a younger record
// stays. It reports whether there was one to forget.
func (x *index) remove(d apikey.Digest, version uint64) bool {
	s := x.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deletions++ // of an unknown one too: a read of it may be on its way
	known := s.versions.get(d)
	if known == 0 || known > version {
		return false
	}
	s.versions.delete(d)
	return true
}

// replace takes in a list of all records as of a version, and returns the digests
// that are gone. What is younger than the list stays. Of a record that is listed
// but not sound the known version stays, if there is one.
func (x *index) replace(items []*item, at uint64) (gone []apikey.Digest) {
	var listed [indexShards][]*item
	for _, it := range items {
		i := shardOf(it.digest)
		listed[i] = append(listed[i], it)
	}
	for i := range x.shards {
		gone = append(gone, x.shards[i].replace(listed[i], at)...)
	}
	return gone
}

func (s *indexShard) replace(items []*item, at uint64) (gone []apikey.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	versions := newTable(len(items))
	for _, it := range items {
		version := s.versions.get(it.digest)
		if it.sound {
			version = max(version, it.version)
		}
		if version != 0 {
			versions.set(it.digest, version)
		}
	}
	for d, version := range s.versions.all() {
		switch {
		case versions.get(d) != 0:
		case version > at:
			versions.set(d, version)
		default:
			gone = append(gone, d)
		}
	}
	s.versions = versions
	s.deletions++ // whatever is not listed was deleted
	return gone
}

// each calls visit for every digest, one shard at a time under its lock.
func (x *index) each(visit func(d apikey.Digest, version uint64)) {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.RLock()
		for d, version := range s.versions.all() {
			visit(d, version)
		}
		s.mu.RUnlock()
	}
}

// len is the number of digests.
func (x *index) len() (n int) {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.RLock()
		n += s.versions.used
		s.mu.RUnlock()
	}
	return n
}
