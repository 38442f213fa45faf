package ratelimit

import (
	"sync"
	"time"
)

// shard is one lock and the keys under it.
type shard struct {
	mu    sync.Mutex
	bound *bound
	table table
}

func newShard(b *bound) *shard { return &shard{bound: b, table: newTable(0)} }

// takeLocked fills in the windows of a key's limits, charges cost to them if all
// have room, and returns 0; else how long the longest without room still lasts.
func (s *shard) takeLocked(id keyID, now time.Duration, limits []Limit, cost int64, windows []Window) (wait time.Duration) {
	t := &s.table
	place, known := t.places[id]
	first := none
	if known {
		first = t.accounts.at(place).first
	}
	for i, limit := range limits {
		windows[i] = t.look(first, limit, now)
		if cost > windows[i].Remaining {
			wait = max(wait, windows[i].Reset)
		}
	}
	if wait > 0 {
		return wait
	}
	if !known {
		s.makeRoomLocked(now)
		place = t.accounts.add(account{id: id, first: none})
	}
	a := t.accounts.at(place)
	for i, limit := range limits {
		a.end = max(a.end, t.charge(a, limit.Per, now, cost))
		windows[i].Remaining -= cost
	}
	if known {
		t.sink(a.rank)
	} else {
		t.enter(place)
	}
	return 0
}

// makeRoomLocked counts one more key, and forgets the one that ends first if that
// is one too many.
func (s *shard) makeRoomLocked(now time.Duration) {
	first, found := s.table.first()
	if s.bound.keys.Add(1) <= s.bound.max || !found {
		return
	}
	if s.table.accounts.at(first).end > now {
		s.bound.evictions.Inc()
	}
	s.removeLocked(first)
}

// removeLocked forgets an account.
func (s *shard) removeLocked(place uint32) {
	s.table.remove(place)
	s.bound.keys.Add(-1)
}

// forget removes up to batch accounts that have ended, and gives memory back where
// little of it is still in use. It reports whether there may be more to remove.
func (s *shard) forget(now time.Duration, batch int) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range batch {
		place, found := s.table.first()
		if !found || s.table.accounts.at(place).end > now {
			s.table.compact()
			return false
		}
		s.removeLocked(place)
	}
	return true
}
