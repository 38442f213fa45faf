package reconcile

import (
	"context"
	"slices"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

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
