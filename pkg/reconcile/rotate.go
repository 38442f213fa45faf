package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// maxNotice is how long before an automatic rotation it is announced at the most.
const maxNotice = 72 * time.Hour

// requested is the rotation that the APIKey asks for.
func (f *facts) requested() int64 {
	if f.key.Spec.Rotation == nil {
		return 1
	}
	return max(f.key.Spec.Rotation.Serial, 1)
}

// every is after how long the token is replaced by itself; 0: never.
func (f *facts) every() time.Duration {
	rotation := f.key.Spec.Rotation
	if rotation == nil || rotation.Every == nil || f.key.Spec.Delivery.Retain != v1alpha1.RetainKeep {
		return 0
	}
	return rotation.Every.Duration
}

// due reports whether a token is to be minted, if nothing is in the way, and which
// serial it gets. One that was begun and never delivered is begun anew.
func (f *facts) due(s *succession) (serial int64, due bool) {
	newest := s.holders[s.newest]
	switch {
	case s.newest > 0 && (newest == nil || newest.State == apikey.Pending):
		return s.newest, true
	case newest == nil:
		return f.requested(), true
	}
	next := f.nextRotation(newest)
	due = f.requested() > max(newest.Rotation, 1) ||
		newest.SupersededAt != nil || // by a token of which nothing is left
		!next.IsZero() && !f.now.Before(next)
	return max(s.newest+1, f.requested()), due
}

// nextRotation is when a token is replaced by itself; zero: it is not.
func (f *facts) nextRotation(r *apikey.Record) time.Time {
	if r == nil || r.DeliveredAt == nil || dead(r) || f.every() == 0 {
		return time.Time{}
	}
	return r.DeliveredAt.Add(f.every())
}

// notice is when an automatic rotation is announced.
func (f *facts) notice(next time.Time) time.Time {
	return next.Add(-min(f.every()/4, maxNotice))
}

// schedule sets when the token is replaced by itself, and says so.
func (f *facts) schedule(d *desired, final bool) {
	next := f.nextRotation(d.elected)
	if expires := f.key.Spec.ExpiresAt; next.IsZero() || final || expires != nil && !next.Before(expires.Time) {
		return // never
	}
	d.nextRotation = next
	message := fmt.Sprintf("the token is replaced at %s, in the Secret %s", stamp(next), deliveryName(f.key))
	soon := no(v1alpha1.ConditionRotatingSoon, v1alpha1.ReasonScheduled, message)
	if !f.now.Before(f.notice(next)) {
		soon = yes(v1alpha1.ConditionRotatingSoon, v1alpha1.ReasonRotatingSoon, message+": callers must have read it there before the overlap ends")
	}
	d.rotatingSoon = &soon
}

// wantedLedger names the newest serial, and each before it but those that are seen to
// have ended: nothing else tells, for the records may be an older view than the ledger.
// nil: the ledger is right as it is.
func (f *facts) wantedLedger(s *succession) *keysecret.Ledger {
	if f.unreadable != "" {
		return nil
	}
	entries := map[int64]keysecret.LedgerEntry{}
	for _, serial := range s.serials {
		entry, known := f.entry(serial)
		holder := s.holders[serial]
		switch {
		case serial != s.newest && holder != nil && (dead(holder) || s.passedOver(holder)):
		case holder != nil && holder.State != apikey.Pending && entry.Digest != holder.Digest:
			entries[serial] = keysecret.LedgerEntry{Digest: holder.Digest, Environment: holder.Environment}
		case known:
			entries[serial] = entry
		}
	}
	if f.ledger == nil && len(entries) == 0 || f.ledger != nil && maps.Equal(entries, f.ledger.Entries) {
		return nil
	}
	return &keysecret.Ledger{Owner: ownerOf(f.key), Entries: entries}
}

// passedOver reports whether a token was never delivered, and others were after it.
func (s *succession) passedOver(r *apikey.Record) bool {
	return r.State == apikey.Pending && s.issued != nil && r.Serial < s.issued.Serial
}

// discards are the records that are kept no longer: all tombstones but the newest, and
// what was passed over.
func (f *facts) discards(s *succession) []*apikey.Record {
	var tombstones, out []*apikey.Record
	for _, r := range f.records {
		switch {
		case dead(r):
			tombstones = append(tombstones, r)
		case s.passedOver(r):
			out = append(out, r)
		}
	}
	slices.SortFunc(tombstones, newestFirst)
	return append(out, tombstones[min(len(tombstones), maxTombstones):]...)
}

// older are the tokens that still work beside the elected one, in their desired form,
// newest first.
func (d *desired) older() []*apikey.Record {
	var out []*apikey.Record
	for _, r := range d.records {
		if d.elected != nil && r.Serial < d.elected.Serial && r.State != apikey.Pending && !dead(r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, newestFirst)
	return out
}

// conditions that an APIKey ought to have.
func (d *desired) conditions() []metav1.Condition {
	out := append([]metav1.Condition{d.ready, d.delivered}, d.expiring...)
	if d.rotatingSoon != nil {
		out = append(out, *d.rotatingSoon)
	}
	return out
}

// stamp is how messages write a moment.
func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }
