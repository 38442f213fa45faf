package reconcile

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// retention is how long a tombstone outlives its APIKey: so long operators are
// told who still calls with a dead key.
const retention = 24 * time.Hour

// maxTombstones is how many tombstones of one APIKey are kept.
const maxTombstones = 10

// pastRetention reports whether a record is a tombstone that has served its time.
func pastRetention(r *apikey.Record, now time.Time) bool {
	return r.RetiredAt != nil && !now.Before(r.RetiredAt.Add(retention))
}

// tombstone is a record in its last form: it turns callers away, and says since when.
// What had ended for good before, or was asked to, stays so: a key that was merely
// deleted may be registered again, one that was revoked may not.
func tombstone(r *apikey.Record, now time.Time) *apikey.Record {
	dead := *r
	if r.State != apikey.Revoked && r.State != apikey.Rotated {
		dead.State = apikey.Deleted
	}
	if dead.RetiredAt == nil {
		at := now.UTC().Truncate(time.Second)
		dead.RetiredAt = &at
	}
	return &dead
}

// retire ends everything that was issued for a deleted APIKey, and lets it go:
// first no caller is let in any more, then the token's Secret goes.
func (r *keys) retire(ctx context.Context, w *world) error {
	if !controllerutil.ContainsFinalizer(w.key, finalizer) {
		return nil
	}
	ledgerSecret, err := r.store.fetch(ctx, keysecret.LedgerName(string(w.key.UID)))
	if err != nil {
		return err
	}
	w.ledger = formOf(r.store.sealer, ledgerSecret).ledger
	if err := r.fetchNamed(ctx, w); err != nil {
		return err
	}
	if err := r.bury(ctx, w); err != nil {
		return err
	}
	if err := r.discardSuspects(ctx, w); err != nil {
		return err
	}
	if ledgerSecret != nil {
		if err := r.store.remove(ctx, ledgerSecret); err != nil {
			return err
		}
	}
	if err := r.release(ctx, w.key); err != nil {
		return err
	}
	r.events.buried(w.key, len(w.records))
	return nil
}

// fetchNamed adds the records that the ledger names, should the cache not have them
// yet, or should they not be readable.
func (r *keys) fetchNamed(ctx context.Context, w *world) error {
	for _, serial := range w.named() {
		entry, _ := w.entry(serial)
		if w.secretOf(entry.Digest) != nil {
			continue
		}
		secret, err := r.store.fetch(ctx, keysecret.RecordName(entry.Digest))
		if err != nil {
			return err
		}
		if secret == nil || r.store.isAnothers(w.key, secret) {
			continue
		}
		record := formOf(r.store.sealer, secret).record
		if record == nil {
			record = r.rebuilt(w, serial, entry)
		}
		w.set(record, secret)
	}
	return nil
}

// bury makes every record a tombstone and deletes the delivery Secrets.
func (r *keys) bury(ctx context.Context, w *world) error {
	for i, record := range w.records {
		dead := tombstone(record, w.now)
		if w.key.Spec.State == v1alpha1.StateRevoked {
			dead.State = apikey.Revoked // it was deleted before that was done
		}
		if sameRecord(record, dead) {
			continue
		}
		secret, err := r.store.putRecord(ctx, dead, w.secrets[i])
		if err != nil {
			return err
		}
		w.set(dead, secret)
	}
	for _, record := range w.records {
		if record.HandedOver {
			continue
		}
		if _, err := r.collect(ctx, w.key, record); err != nil {
			return err
		}
	}
	return nil
}

// release takes the finalizer off.
func (r *keys) release(ctx context.Context, key *v1alpha1.APIKey) error {
	base := key.DeepCopy()
	controllerutil.RemoveFinalizer(key, finalizer)
	err := r.store.client.Patch(ctx, key, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}), fieldOwner)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("take the finalizer off: %w", raced(err, apierrors.IsConflict))
	}
	return nil
}
