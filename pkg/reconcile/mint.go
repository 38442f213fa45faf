package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// issue is a token on its way.
type issue struct {
	world  *world
	token  []byte
	record *apikey.Record
	// secret that record was last written to.
	secret *corev1.Secret
	// delivery is where the token was put.
	delivery delivered
}

// mint registers a key that was made elsewhere, or issues the token of a serial and
// puts its Active record among the facts:
//
//	M1 the record, Pending
//	M2 the ledger names its digest, under resourceVersion: the lock
//	M3 the delivery Secret
//	M4 the record, Active, under resourceVersion
//
// Whatever stops it between two steps leaves a Pending record, which lets nobody
// in; recover clears it away. It returns after how long to try again where it is
// not yet time; 0: it is done, or failed with a condition.
func (r *keys) mint(ctx context.Context, w *world, want *desired) (time.Duration, error) {
	if registers(w.key) {
		return 0, r.register(ctx, w, want)
	}
	wait, err := r.recover(ctx, w, want.serial)
	if err != nil || wait > 0 {
		return wait, err
	}
	if err := r.hold(ctx, w.key); err != nil {
		return 0, err
	}
	if w.ledger == nil && len(w.records) == 0 {
		r.events.held(w.key)
	}
	draft, err := r.draw(w, want)
	if err != nil {
		return 0, err
	}
	defer clear(draft.token)
	if err := r.commit(ctx, draft); err != nil {
		return 0, err
	}
	refusal, err := r.hand(ctx, draft)
	if err != nil {
		return 0, err
	}
	if refusal != nil {
		w.failure = r.attempts.fail(w.key, refusal.reason, refusal.message)
		r.events.undelivered(w.key, w.failure)
		return 0, nil
	}
	return 0, r.activate(ctx, draft)
}

// recover makes way for a mint of a serial: it looks, live, at what the ledger names.
// What was delivered, or others came after, is never minted again; a Pending record is
// given recoverAfter to become Active, from when this process first knew of it, and is
// then deleted under its resourceVersion: of the two, only one can happen.
func (r *keys) recover(ctx context.Context, w *world, serial int64) (wait time.Duration, err error) {
	if w.ledgerSecret, err = r.store.fetch(ctx, keysecret.LedgerName(string(w.key.UID))); err != nil || w.ledgerSecret == nil {
		return 0, err
	}
	live := formOf(r.store.sealer, w.ledgerSecret).ledger
	if live == nil {
		return lookAgain, nil // the cache will tell that it was tampered with
	}
	w.ledger = live
	entry, known := w.entry(serial)
	switch {
	case w.told(serial + 1):
		return lookAgain, nil // the cache will tell
	case !known || r.attempts.abandoned(w.key, entry.Digest):
		return 0, nil
	}
	secret, err := r.store.fetch(ctx, keysecret.RecordName(entry.Digest))
	if err != nil {
		return 0, err
	}
	if r.store.isAnothers(w.key, secret) {
		secret = nil // who lost a token may find it registered by somebody else
	}
	if secret != nil {
		if record := formOf(r.store.sealer, secret).record; record == nil || record.State != apikey.Pending {
			return lookAgain, nil // the cache will tell
		}
	}
	if wait := r.recoverAfter - r.attempts.seen(w.key, entry.Digest); wait > 0 || secret == nil {
		return max(wait, 0), nil
	}
	return 0, r.store.remove(ctx, secret)
}

// draw makes a token and the record of it, in memory.
func (r *keys) draw(w *world, want *desired) (*issue, error) {
	format, ok := w.policy.Format(want.environment)
	if !ok {
		return nil, fmt.Errorf("policy %s has no environment %q", w.policy, want.environment)
	}
	token, err := format.Mint()
	if err != nil {
		return nil, fmt.Errorf("mint: %w", err)
	}
	digest, pepper := r.peppers.Sum(token)
	record := &apikey.Record{
		Digest:      digest,
		Pepper:      pepper,
		Owner:       ownerOf(w.key),
		Serial:      want.serial,
		Rotation:    w.requested(),
		Policy:      w.policy.Ref(),
		Environment: want.environment,
		State:       apikey.Pending,
		Hint:        format.Hint(token),
		IssuedAt:    w.now.UTC().Truncate(time.Second),
	}
	return &issue{world: w, token: token, record: record}, nil
}

// commit is M1 and M2. Who loses the ledger deletes the record it made.
func (r *keys) commit(ctx context.Context, draft *issue) (err error) {
	w := draft.world
	if draft.secret, err = r.store.putRecord(ctx, draft.record, nil); err != nil {
		return err
	}
	ledger := w.ledgerNaming(draft.record)
	secret, err := r.store.putLedger(ctx, ledger, w.ledgerSecret)
	if err != nil {
		if errors.Is(err, errLostRace) {
			return errors.Join(err, r.drop(ctx, draft))
		}
		return err // it may have been written all the same: see recover
	}
	w.ledger, w.ledgerSecret = ledger, secret
	return nil
}

// drop deletes the record of a token that will not be delivered.
func (r *keys) drop(ctx context.Context, draft *issue) error {
	if err := r.store.remove(ctx, draft.secret); err != nil {
		return err
	}
	r.attempts.abandon(draft.world.key, draft.record.Digest)
	return nil
}

// hand is M3. Where the API server refuses the delivery Secret for good reason, the
// record goes, and with it all worth of the token.
func (r *keys) hand(ctx context.Context, draft *issue) (*refusal, error) {
	var err error
	draft.delivery, err = r.deliver(ctx, draft)
	var refused *refusal
	if errors.As(err, &refused) {
		return refused, r.drop(ctx, draft)
	}
	return nil, err
}

// activate is M4: the key works from here on. Where the record is not as it was
// left, another controller gave this token up, and its Secret goes too.
func (r *keys) activate(ctx context.Context, draft *issue) error {
	w, record := draft.world, *draft.record
	at := r.now().UTC()
	record.DeliveredAt, record.DeliveryUID = &at, string(draft.delivery.uid)
	w.fill(&record, w.grant(record.Environment))
	secret, err := r.store.putRecord(ctx, &record, draft.secret)
	if errors.Is(err, errLostRace) {
		_, takeBack := r.takeBack(ctx, w.key, draft.delivery)
		return errors.Join(err, takeBack)
	}
	if err != nil {
		return err
	}
	before := decide(&w.facts).elected
	w.set(&record, secret)
	w.failure, w.now = nil, r.now()
	r.attempts.forget(client.ObjectKeyFromObject(w.key))
	r.metrics.minted.Inc()
	if works(before) {
		r.events.rotated(w.key, before, &record, *firstOf(*w.overlapEnd(before, w.succession()), before.ExpiresAt))
	} else {
		r.events.issued(w.key, &record)
	}
	return nil
}

// stillOurs reports, live, whether the token is the one that the ledger names and
// its record waits for it.
func (r *keys) stillOurs(ctx context.Context, key *v1alpha1.APIKey, draft *issue) (bool, error) {
	secret, err := r.store.fetch(ctx, keysecret.LedgerName(string(key.UID)))
	if err != nil {
		return false, err
	}
	ledger := formOf(r.store.sealer, secret).ledger
	if ledger == nil || ledger.Entries[draft.record.Serial].Digest != draft.record.Digest {
		return false, nil
	}
	record, err := r.store.fetch(ctx, draft.secret.Name)
	return err == nil && record != nil && record.UID == draft.secret.UID && record.ResourceVersion == draft.secret.ResourceVersion, err
}
