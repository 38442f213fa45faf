package reconcile

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// pendingGrace is how long a Pending record that no ledger names is left alone: a
// mint in between its first two writes.
const pendingGrace = time.Minute

// sweeper looks after single Secrets of the keys namespace: it puts back what
// drifted, makes tombstones of records whose APIKey is gone, and removes what has
// served its time.
type sweeper struct {
	store   *store
	drift   *drift
	events  *events
	metrics *metrics
	now     func() time.Time
	// adoptRestored leaves alone what belongs to an APIKey that is not there: it may
	// still be restored.
	adoptRestored bool
}

// Reconcile implements reconcile.Reconciler.
func (s *sweeper) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	wait, err := s.look(ctx, request.Name)
	if errors.Is(err, errLostRace) {
		return ctrl.Result{RequeueAfter: lookAgain}, nil
	}
	return ctrl.Result{RequeueAfter: wait}, err
}

func (s *sweeper) look(ctx context.Context, name string) (time.Duration, error) {
	if restored, err := s.restore(ctx, name); restored || err != nil {
		return 0, err // its event comes back here
	}
	secret, err := s.store.cached(ctx, name)
	if err != nil || secret == nil {
		return 0, err
	}
	held := formOf(s.store.sealer, secret)
	if resealed, err := s.reseal(ctx, held, secret); resealed || err != nil {
		return 0, err // its event comes back here
	}
	switch {
	case held.record != nil:
		return s.sweepRecord(ctx, stored{held.record, secret})
	case held.ledger != nil:
		return 0, s.sweepLedger(ctx, held.ledger, secret)
	}
	return 0, nil
}

// restore puts a record or a ledger back to the form that drift remembers, as a
// newer revision than what took its place.
func (s *sweeper) restore(ctx context.Context, name string) (bool, error) {
	good, ok := s.drift.lost(name)
	if !ok || good.policy != nil {
		return false, nil
	}
	present, err := s.store.fetch(ctx, name)
	if err != nil {
		return false, err
	}
	superfluous, err := s.superfluous(ctx, good.record)
	if err != nil {
		return false, err
	}
	if superfluous || supersedes(formOf(s.store.sealer, present), good.form) {
		s.drift.settle(name, good)
		return false, nil
	}
	owner := apikey.Ref{}
	if good.record != nil {
		owner = good.record.Owner
		back := *good.record
		_, err = s.store.putRecord(ctx, &back, present)
	} else {
		owner = good.ledger.Owner
		_, err = s.store.putLedger(ctx, good.ledger, present)
	}
	if err != nil {
		return false, err
	}
	s.drift.settle(name, good)
	s.metrics.restored.Inc()
	s.events.restored(owner, name)
	return true, nil
}

// sweepRecord returns after how long to look again; 0: not before something changes.
func (s *sweeper) sweepRecord(ctx context.Context, r stored) (time.Duration, error) {
	if r.record.RetiredAt != nil {
		return s.sweepTombstone(ctx, r)
	}
	alive, err := s.alive(ctx, r.record.Owner)
	if err != nil {
		return 0, err
	}
	if !alive && s.adoptRestored {
		return 0, nil
	}
	if !alive {
		_, err := s.store.putRecord(ctx, tombstone(r.record, s.now()), r.secret)
		return 0, err
	}
	if r.record.State == apikey.Pending {
		return s.sweepPending(ctx, r)
	}
	return 0, nil
}

// sweepTombstone removes a tombstone that has served its time, or is not among the
// newest of its APIKey.
func (s *sweeper) sweepTombstone(ctx context.Context, r stored) (time.Duration, error) {
	wait := r.record.RetiredAt.Add(retention).Sub(s.now())
	if wait <= 0 {
		return 0, s.store.remove(ctx, r.secret)
	}
	superfluous, err := s.superfluous(ctx, r.record)
	if err != nil || !superfluous {
		return wait, err
	}
	return 0, s.store.remove(ctx, r.secret)
}

// superfluous reports whether a record is a tombstone that is not among the newest
// of its APIKey, be that gone or not.
func (s *sweeper) superfluous(ctx context.Context, r *apikey.Record) (bool, error) {
	if r == nil || !dead(r) {
		return false, nil
	}
	siblings, err := s.store.recordsOf(ctx, r.Owner.UID)
	newer := slices.DeleteFunc(siblings, func(other stored) bool { return !dead(other.record) || newestFirst(other.record, r) >= 0 })
	return len(newer) >= maxTombstones, err
}

// sweepPending removes a Pending record that no ledger names. One that is named is
// its APIKey's to recover.
func (s *sweeper) sweepPending(ctx context.Context, r stored) (time.Duration, error) {
	if wait := r.record.IssuedAt.Add(pendingGrace).Sub(s.now()); wait > 0 {
		return wait, nil
	}
	secret, err := s.store.fetch(ctx, keysecret.LedgerName(r.record.Owner.UID))
	if err != nil {
		return 0, err
	}
	ledger := formOf(s.store.sealer, secret).ledger
	if secret != nil && ledger == nil || ledger != nil && ledger.Entries[r.record.Serial].Digest == r.record.Digest {
		return 0, nil
	}
	return 0, s.store.remove(ctx, r.secret)
}

// sweepLedger removes the ledger of an APIKey that is gone, and first the records
// that it names and nobody can read: extauthz may let callers in by what it last
// read there.
func (s *sweeper) sweepLedger(ctx context.Context, ledger *keysecret.Ledger, secret *corev1.Secret) error {
	alive, err := s.alive(ctx, ledger.Owner)
	if alive || s.adoptRestored || err != nil {
		return err
	}
	for _, entry := range ledger.Entries {
		named, err := s.store.fetch(ctx, keysecret.RecordName(entry.Digest))
		if err != nil {
			return err
		}
		if named == nil || formOf(s.store.sealer, named).record != nil {
			continue
		}
		if err := s.store.remove(ctx, named); err != nil {
			return err
		}
	}
	return s.store.remove(ctx, secret)
}

// alive reports whether an APIKey exists. That it is gone is only believed of the
// API server itself, never of a cache that may lag.
func (s *sweeper) alive(ctx context.Context, owner apikey.Ref) (bool, error) {
	for _, reader := range []client.Reader{s.store.client, s.store.live} {
		key := &v1alpha1.APIKey{}
		err := reader.Get(ctx, client.ObjectKey{Namespace: owner.Namespace, Name: owner.Name}, key)
		if err == nil && string(key.UID) == owner.UID {
			return true, nil
		}
		if err != nil && !apierrors.IsNotFound(err) {
			return false, err
		}
	}
	return false, nil
}

// swept reports whether a Secret's name is one that the sweeper looks after.
func swept(name string) bool {
	_, err := keysecret.DigestOf(name)
	return err == nil || strings.HasPrefix(name, keysecret.LedgerName(""))
}
