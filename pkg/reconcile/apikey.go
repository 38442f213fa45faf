package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// finalizer holds a deleted APIKey until its records are tombstones.
const finalizer = "keygate.dev/records"

// lookAgain is when a key is judged anew after a race was lost, should the event
// of the winner's write not come first.
const lookAgain = 100 * time.Millisecond

// keys makes the records of each APIKey what they ought to be.
type keys struct {
	store    *store
	peppers  *apikey.Peppers
	accepted *accepted
	drift    *drift
	attempts *attempts
	events   *events
	metrics  *metrics
	now      func() time.Time
	// restore puts a Secret back that drift knows of; see sweeper.restore.
	restore func(ctx context.Context, name string) (bool, error)
	// recoverAfter is how long a token that is being delivered is waited for.
	recoverAfter time.Duration
	// adoptRestored: see Options.AdoptRestored.
	adoptRestored bool
	// expiringSoon is how long before its end a key is said to expire soon.
	expiringSoon time.Duration
}

// Reconcile implements reconcile.Reconciler.
func (r *keys) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	wait, err := r.look(ctx, request.NamespacedName)
	if errors.Is(err, errLostRace) {
		return ctrl.Result{RequeueAfter: lookAgain}, nil
	}
	return ctrl.Result{RequeueAfter: wait}, err
}

// look settles an APIKey that exists, once what it lost is put back.
func (r *keys) look(ctx context.Context, name client.ObjectKey) (time.Duration, error) {
	if held := r.drift.heldOf(name); len(held) > 0 {
		return lookAgain, r.restoreAll(ctx, held) // the cache is still to hear of it
	}
	key := &v1alpha1.APIKey{}
	if err := r.store.client.Get(ctx, name, key); err != nil {
		r.forget(name)
		return 0, client.IgnoreNotFound(err)
	}
	return r.settle(ctx, key)
}

// restoreAll puts Secrets back, or finds that they were: the drift of one that a
// listener told of late is known to nobody else.
func (r *keys) restoreAll(ctx context.Context, names []string) error {
	for _, name := range names {
		if _, err := r.restore(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// settle makes everything of one APIKey as it ought to be. It returns after how
// long to look again; 0: not before something changes.
func (r *keys) settle(ctx context.Context, key *v1alpha1.APIKey) (time.Duration, error) {
	w, err := r.observe(ctx, key)
	if err != nil {
		return 0, err
	}
	if !key.DeletionTimestamp.IsZero() {
		return 0, r.retire(ctx, w)
	}
	if r.adoptRestored {
		if err := r.adopt(ctx, w); err != nil {
			return 0, err
		}
	}
	if len(w.records) > 0 {
		if err := r.hold(ctx, key); err != nil {
			return 0, err // somebody cut the finalizer of a living APIKey
		}
	}
	want, err := r.enforce(ctx, w)
	if err != nil {
		return 0, err
	}
	if w.ending() {
		if err := r.discardSuspects(ctx, w); err != nil {
			return 0, err
		}
	}
	var wait time.Duration
	if want.mint {
		if wait, err = r.mint(ctx, w, want); err != nil {
			return 0, err
		}
		if want, err = r.enforce(ctx, w); err != nil {
			return 0, err
		}
	}
	if err := r.report(ctx, key, want); err != nil {
		return 0, err
	}
	return soonest(wait, want.wake, r.now()), nil
}

// soonest is the shorter of a wait (0: none) and the time until a moment (zero:
// none). It is 0 only where there is neither.
func soonest(wait time.Duration, moment, now time.Time) time.Duration {
	if moment.IsZero() {
		return wait
	}
	until := max(moment.Sub(now), time.Millisecond)
	if wait == 0 || until < wait {
		return until
	}
	return wait
}

// enforce decides what ought to be and writes the ledger and the records that differ.
func (r *keys) enforce(ctx context.Context, w *world) (*desired, error) {
	want := decide(&w.facts)
	if want.ledger != nil {
		secret, err := r.store.putLedger(ctx, want.ledger, w.ledgerSecret)
		if err != nil {
			return nil, err
		}
		w.ledger, w.ledgerSecret = want.ledger, secret
	}
	for i, next := range want.records {
		if !sameRecord(w.records[i], next) {
			if err := r.amend(ctx, w, i, next); err != nil {
				return nil, err
			}
		}
	}
	for _, record := range want.discard {
		if err := r.store.remove(ctx, w.secretOf(record.Digest)); err != nil {
			return nil, err
		}
		w.drop(record.Digest)
	}
	return want, nil
}

// amend writes one record in its desired form, and does first what that form says
// was done.
func (r *keys) amend(ctx context.Context, w *world, i int, next *apikey.Record) error {
	before, found := w.records[i], false
	collects := next.HandedOver && !before.HandedOver && next.SupersededAt == nil
	if collects {
		err := r.confirmNewest(ctx, w.key, next)
		if err == nil {
			found, err = r.collect(ctx, w.key, before)
		}
		if err != nil {
			return err
		}
	}
	if next.State == apikey.Revoked && before.State != apikey.Revoked && !w.ending() {
		if err := r.confirmElected(ctx, w.key, w.elect(next.Serial)); err != nil {
			return err
		}
	}
	secret, err := r.store.putRecord(ctx, next, w.secrets[i])
	if err != nil {
		return err
	}
	w.set(next, secret)
	if collects {
		r.events.handedOver(w.key, next, found)
	}
	r.events.amended(w.key, before, next)
	return nil
}

// confirmElected makes sure, live, that the ledger names the elected record before
// another one of its serial is revoked, which is for good.
func (r *keys) confirmElected(ctx context.Context, key *v1alpha1.APIKey, elected *apikey.Record) error {
	secret, err := r.store.fetch(ctx, keysecret.LedgerName(string(key.UID)))
	if err != nil {
		return err
	}
	ledger := formOf(r.store.sealer, secret).ledger
	if ledger == nil || ledger.Entries[elected.Serial].Digest != elected.Digest {
		return errLostRace
	}
	return nil
}

// hold puts the finalizer on an APIKey before anything is issued for it.
func (r *keys) hold(ctx context.Context, key *v1alpha1.APIKey) error {
	if controllerutil.ContainsFinalizer(key, finalizer) {
		return nil
	}
	base := key.DeepCopy()
	controllerutil.AddFinalizer(key, finalizer)
	if err := r.store.client.Patch(ctx, key, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}), fieldOwner); err != nil {
		return fmt.Errorf("add the finalizer: %w", raced(err, apierrors.IsConflict, apierrors.IsNotFound))
	}
	return nil
}

// forget drops what was remembered of an APIKey that is gone.
func (r *keys) forget(name client.ObjectKey) {
	r.attempts.forget(name)
	r.metrics.forget(name)
}
