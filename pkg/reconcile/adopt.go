package reconcile

import (
	"context"
	"fmt"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// adopt makes an APIKey the owner of what a backup holds of the APIKey of its name:
// of that, all but the uid is the same. The ledger is written first, so that nothing
// is minted in between; then each record, revoked ones too, which so stay revoked.
// It is done again from the start after a crash: what was adopted is passed over.
// Where it wrote anything, it returns errLostRace, and the APIKey is looked at anew.
func (r *keys) adopt(ctx context.Context, w *world) error {
	left, err := r.store.leftBehind(ctx, ownerOf(w.key))
	if err != nil || len(left) == 0 {
		return err
	}
	if err := r.hold(ctx, w.key); err != nil {
		return err
	}
	former := left[0].record.Owner
	ledger, err := r.store.adoptedLedger(ctx, ownerOf(w.key), former, left)
	if err != nil {
		return err
	}
	if w.ledgerSecret == nil {
		if _, err := r.store.putLedger(ctx, ledger, nil); err != nil {
			return err
		}
		w.ledger = ledger
	}
	adopted, err := r.adoptRecords(ctx, w, left)
	if err != nil || adopted == 0 {
		return err
	}
	if err := r.store.removeLedger(ctx, former); err != nil {
		return err
	}
	r.events.adopted(w.key, adopted)
	return fmt.Errorf("%w: records were adopted", errLostRace)
}

// adoptRecords writes the records that the APIKey's ledger names, or that it does not
// name any more because they ended, and returns how many. A serial that was minted anew
// before adoption was turned on stays so.
func (r *keys) adoptRecords(ctx context.Context, w *world, left []stored) (adopted int, err error) {
	for _, each := range left {
		entry, named := w.entry(each.record.Serial)
		if named && entry.Digest != each.record.Digest || !named && !w.told(each.record.Serial) {
			continue
		}
		own := *each.record
		own.Owner = ownerOf(w.key)
		if _, err := r.store.putRecord(ctx, &own, each.secret); err != nil {
			return adopted, err
		}
		adopted++
	}
	return adopted, nil
}

// leftBehind returns the records of an APIKey of the owner's name that is not there
// any more; of several such, the one that was issued a token last. Tombstones of
// deleted APIKeys are not among them.
func (s *store) leftBehind(ctx context.Context, owner apikey.Ref) ([]stored, error) {
	secrets, err := s.indexed(ctx, byOwnerName(owner.Namespace+"/"+owner.Name))
	if err != nil {
		return nil, err
	}
	var former *apikey.Record
	of := map[string][]stored{} // uid → records
	for i := range secrets {
		record := formOf(s.sealer, &secrets[i]).record
		if record == nil || record.Owner.UID == owner.UID || record.RetiredAt != nil {
			continue
		}
		of[record.Owner.UID] = append(of[record.Owner.UID], stored{record, &secrets[i]})
		if former == nil || newestFirst(record, former) < 0 {
			former = record
		}
	}
	if former == nil {
		return nil, nil
	}
	return of[former.Owner.UID], nil
}

// adoptedLedger is what the ledger of a former APIKey says, as the owner's: a serial
// that it names no more has ended, whatever a record in a backup says of it. Where it is
// gone or spoiled, the records tell.
func (s *store) adoptedLedger(ctx context.Context, owner, former apikey.Ref, left []stored) (*keysecret.Ledger, error) {
	secret, err := s.fetch(ctx, keysecret.LedgerName(former.UID))
	if err != nil {
		return nil, err
	}
	if said := formOf(s.sealer, secret).ledger; said != nil {
		return &keysecret.Ledger{Owner: owner, Entries: said.Entries}, nil
	}
	ledger := &keysecret.Ledger{Owner: owner, Entries: map[int64]keysecret.LedgerEntry{}}
	best := map[int64]*apikey.Record{}
	for _, each := range left {
		r := each.record
		if r.State != apikey.Pending && preferred(r, best[r.Serial]) {
			best[r.Serial] = r
			ledger.Entries[r.Serial] = keysecret.LedgerEntry{Digest: r.Digest, Environment: r.Environment}
		}
	}
	return ledger, nil
}

// removeLedger removes the ledger of a former APIKey.
func (s *store) removeLedger(ctx context.Context, former apikey.Ref) error {
	secret, err := s.fetch(ctx, keysecret.LedgerName(former.UID))
	if err != nil || secret == nil {
		return err
	}
	return s.remove(ctx, secret)
}
