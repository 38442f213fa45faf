package reconcile

import (
	"maps"
	"slices"
	"time"

	"keygate.dev/keygate/pkg/apikey"
)

const (
	// defaultOverlap is how long a token works on beside its successor where the APIKey
	// does not say.
	defaultOverlap = 24 * time.Hour
	// maxLive is how many tokens of one APIKey work at a time: beyond it, the oldest
	// ends at once.
	maxLive = 8
)

// succession is the tokens of an APIKey by their serials.
type succession struct {
	// serials that the ledger names or that a delivered record has, from the oldest on.
	serials []int64
	// newest of the serials; 0: there is none.
	newest int64
	// holders: serial → the record that holds it, see elect.
	holders map[int64]*apikey.Record
	// issued is the newest holder that was delivered; nil: none was.
	issued *apikey.Record
}

// succession orders the records.
func (f *facts) succession() *succession {
	known := map[int64]bool{}
	for _, serial := range f.named() {
		known[serial] = true
	}
	for _, r := range f.records {
		if r.State != apikey.Pending {
			known[r.Serial] = true
		}
	}
	s := &succession{serials: slices.Sorted(maps.Keys(known)), holders: map[int64]*apikey.Record{}}
	for _, serial := range s.serials {
		s.newest = serial
		holder := f.elect(serial)
		if holder == nil {
			continue
		}
		s.holders[serial] = holder
		if holder.State != apikey.Pending {
			s.issued = holder
		}
	}
	return s
}

// named are the serials that the ledger names, from the oldest on.
func (f *facts) named() []int64 {
	if f.ledger == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(f.ledger.Entries))
}

// told reports whether the ledger knows what became of a serial: it names it, or one
// after it.
func (f *facts) told(serial int64) bool {
	named := f.named()
	return len(named) > 0 && named[len(named)-1] >= serial
}

// dead reports whether a record lets nobody in, for good.
func dead(r *apikey.Record) bool {
	return r.State == apikey.Revoked || r.State == apikey.Rotated || r.State == apikey.Deleted
}

// supersededAt is when the next token after a record's was delivered; nil: none was.
// What the record itself says stays true when its successor's record is lost.
func (s *succession) supersededAt(r *apikey.Record) *time.Time {
	for _, serial := range s.serials {
		next := s.holders[serial]
		if serial <= r.Serial || next == nil || next.State == apikey.Pending || next.DeliveredAt == nil {
			continue
		}
		if r.SupersededAt == nil || next.DeliveredAt.Before(*r.SupersededAt) {
			return next.DeliveredAt
		}
		break
	}
	return r.SupersededAt
}

// overlapEnd is when the overlap of a token with its successor is over; nil: it has no
// successor.
func (f *facts) overlapEnd(r *apikey.Record, s *succession) *time.Time {
	from := s.supersededAt(r)
	if from == nil || r.State == apikey.Pending {
		return nil
	}
	overlap := defaultOverlap
	if rotation := f.key.Spec.Rotation; rotation != nil && rotation.Overlap != nil {
		overlap = rotation.Overlap.Duration
	}
	end := from.Add(overlap).UTC()
	return &end
}

// over reports whether a delivered token must not work any more because of those that
// came after it: the overlap is over, or there are too many. A serial that the ledger
// names no more ended before: what comes back of it, from a backup, stays ended.
func (f *facts) over(r *apikey.Record, s *succession) bool {
	if end := f.overlapEnd(r, s); end != nil && !f.now.Before(*end) {
		return true
	}
	if _, known := f.entry(r.Serial); !known && f.told(r.Serial) {
		return true
	}
	younger := 0
	for serial, holder := range s.holders {
		if serial > r.Serial && holder.State != apikey.Pending && !dead(holder) {
			younger++
		}
	}
	return younger >= maxLive
}

// rotated is a token's last form, once its overlap is over.
func (f *facts) rotated(r *apikey.Record, s *succession) {
	r.State = apikey.Rotated
	r.ExpiresAt = firstOf(f.now.UTC(), f.overlapEnd(r, s), r.ExpiresAt)
}

// firstOf is the first of the moments that are given.
func firstOf(first time.Time, others ...*time.Time) *time.Time {
	for _, other := range others {
		if other != nil && other.Before(first) {
			first = *other
		}
	}
	return &first
}
