package reconcile

import (
	"context"
	"slices"
	"time"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// defaultTTL is how long an uncollected delivery Secret is kept where the APIKey
// does not say.
const defaultTTL = 24 * time.Hour

// handOver notes that a token's delivery Secret is of no more use: it holds a later
// token, or is to be deleted, because its time is up or somebody says that it was
// collected. The Secret is left alone while another token is on its way into it.
func (f *facts) handOver(want, r *apikey.Record, s *succession) {
	want.SupersededAt = s.supersededAt(r)
	due := f.collectBy(r)
	switch {
	case want.SupersededAt != nil:
		want.HandedOver = true
	case r != s.issued || f.now.Before(f.underWay(s)):
	case f.collected(r) || !due.IsZero() && !f.now.Before(due):
		want.HandedOver = true
	}
}

// collected reports whether somebody says that a token was collected.
func (f *facts) collected(r *apikey.Record) bool {
	return r.DeliveredAt != nil && f.key.Annotations[v1alpha1.AnnotationCollected] == r.Digest.ID()
}

// underWay is until when a token that is not yet delivered may be on its way; zero:
// there is none.
func (f *facts) underWay(s *succession) time.Time {
	if newest := s.holders[s.newest]; newest != nil && newest.State == apikey.Pending {
		return newest.IssuedAt.Add(pendingGrace)
	}
	return time.Time{}
}

// collectBy is when a record's delivery Secret is to be deleted; zero: never, or
// it is gone.
func (f *facts) collectBy(r *apikey.Record) time.Time {
	if r.DeliveredAt == nil || r.HandedOver || f.key.Spec.Delivery.Retain == v1alpha1.RetainKeep {
		return time.Time{}
	}
	ttl := defaultTTL
	if f.key.Spec.Delivery.TTL != nil {
		ttl = f.key.Spec.Delivery.TTL.Duration
	}
	return r.DeliveredAt.Add(ttl)
}

// confirmNewest makes sure, live, that no later token is on its way into the delivery
// Secret of a record, which is to be deleted.
func (r *keys) confirmNewest(ctx context.Context, key *v1alpha1.APIKey, record *apikey.Record) error {
	secret, err := r.store.fetch(ctx, keysecret.LedgerName(string(key.UID)))
	if err != nil {
		return err
	}
	live := facts{ledger: formOf(r.store.sealer, secret).ledger}
	if !live.told(record.Serial + 1) {
		return nil
	}
	entry, _ := live.entry(slices.Max(live.named()))
	later, err := r.store.fetch(ctx, keysecret.RecordName(entry.Digest))
	if err != nil {
		return err
	}
	next := formOf(r.store.sealer, later).record
	if next != nil && (next.State != apikey.Pending || r.now().Before(next.IssuedAt.Add(pendingGrace))) {
		return errLostRace
	}
	return nil
}
