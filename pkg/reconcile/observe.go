package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// world is the facts of one APIKey and the Secrets that they were read from.
type world struct {
	facts
	// secrets of facts.records, in their order.
	secrets []*corev1.Secret
	// ledger as it is stored, readable or not; nil: there is none.
	ledgerSecret *corev1.Secret
	// suspects are Secrets of records that cannot be read and are labelled as the
	// APIKey's. extauthz may still let callers in by what it last read in them.
	suspects []corev1.Secret
}

// observe reads the facts from the cache.
func (r *keys) observe(ctx context.Context, key *v1alpha1.APIKey) (*world, error) {
	w := &world{facts: facts{key: key, failure: r.attempts.failure(key), soon: r.expiringSoon, now: r.now()}}
	// Records first: the ledger, read after them, is then never the older view. All
	// Secrets of the namespace come through one watch, in the order of their writes.
	records, err := r.store.recordsOf(ctx, string(key.UID))
	if err != nil {
		return nil, err
	}
	for _, each := range records {
		w.records = append(w.records, each.record)
		w.secrets = append(w.secrets, each.secret)
	}
	if err := r.observeLedger(ctx, w); err != nil {
		return nil, err
	}
	if w.suspects, err = r.store.indexed(ctx, bySuspect(string(key.UID))); err != nil {
		return nil, err
	}
	if err := r.observeNamed(ctx, w); err != nil {
		return nil, err
	}
	if !key.DeletionTimestamp.IsZero() {
		return w, nil // whatever the policy says
	}
	if err := r.observeRegistered(ctx, w); err != nil {
		return nil, err
	}
	return w, r.observePolicy(ctx, w)
}

// observeLedger reads the ledger. One whose seal is broken is as good as none where
// the records tell what it said.
func (r *keys) observeLedger(ctx context.Context, w *world) (err error) {
	w.ledgerSecret, err = r.store.cached(ctx, keysecret.LedgerName(string(w.key.UID)))
	if err != nil || w.ledgerSecret == nil {
		return err
	}
	w.ledger, err = r.store.sealer.DecodeLedger(w.ledgerSecret)
	switch {
	case err == nil:
	case !(errors.Is(err, keysecret.ErrSeal) || w.ledgerSecret.Type != keysecret.TypeLedger):
		w.unreadable = w.ledgerSecret.Name // another version of the controller's, it seems
	case w.succession().issued == nil:
		w.unreadable = w.ledgerSecret.Name
	}
	return nil
}

// observeNamed finds out whether a record that the ledger names is there but cannot be
// read, or one that it does not name but that may be the APIKey's. Those that end, or
// that others came after, are rebuilt as far as it takes to end them.
func (r *keys) observeNamed(ctx context.Context, w *world) error {
	issued := w.succession().issued
	for _, serial := range w.named() {
		entry, _ := w.entry(serial)
		if w.secretOf(entry.Digest) != nil {
			continue
		}
		secret, err := r.store.cached(ctx, keysecret.RecordName(entry.Digest))
		switch {
		case err != nil || r.store.isAnothers(w.key, secret):
			return err
		case secret == nil:
		case w.ending():
			w.set(r.rebuilt(w, serial, entry), secret)
		case issued != nil && serial < issued.Serial:
			w.set(r.rebuilt(w, serial, entry), secret)
			w.spoiled = append(w.spoiled, secret.Name)
		default:
			w.unreadable = secret.Name
		}
	}
	w.suspect(issued)
	return nil
}

// suspect judges the suspects that the ledger does not name: any may hold a token that
// works, of a serial that the ledger was made to forget.
func (w *world) suspect(issued *apikey.Record) {
	for i := range w.suspects {
		name := w.suspects[i].Name
		switch {
		case w.names(name):
		case issued != nil:
			w.doubtful = name
		case w.unreadable == "" && len(w.named()) == 0:
			w.unreadable = name
		}
	}
}

// names reports whether the ledger names the record that a Secret is named from.
func (w *world) names(secretName string) bool {
	return slices.ContainsFunc(w.named(), func(serial int64) bool {
		entry, _ := w.entry(serial)
		return keysecret.RecordName(entry.Digest) == secretName
	})
}

func (r *keys) observePolicy(ctx context.Context, w *world) (err error) {
	ref, declared := policyOf(w.key), &v1alpha1.APIKeyPolicy{}
	err = r.store.client.Get(ctx, ref, declared)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	w.declared = err == nil
	if w.policy, err = r.accepted.policy(ctx, ref, string(declared.UID)); err != nil {
		return err
	}
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err = r.store.client.Get(ctx, client.ObjectKey{Name: w.key.Namespace}, namespace)
	if apierrors.IsNotFound(err) {
		// The cache has not heard of it yet. To be without labels is what some selectors ask for.
		return fmt.Errorf("%w: the namespace is not known yet", errLostRace)
	}
	w.labels = namespace.Labels
	return err
}

// secretOf is the Secret that a record of the facts was read from.
func (w *world) secretOf(digest apikey.Digest) *corev1.Secret {
	for i, r := range w.records {
		if r.Digest == digest {
			return w.secrets[i]
		}
	}
	return nil
}

// drop takes a record that was removed from the facts.
func (w *world) drop(digest apikey.Digest) {
	for i, r := range w.records {
		if r.Digest == digest {
			w.records, w.secrets = slices.Delete(w.records, i, i+1), slices.Delete(w.secrets, i, i+1)
			return
		}
	}
}

// set puts a record, as it is stored now, among the facts.
func (w *world) set(r *apikey.Record, secret *corev1.Secret) {
	for i, old := range w.records {
		if old.Digest == r.Digest {
			w.records[i], w.secrets[i] = r, secret
			return
		}
	}
	w.records, w.secrets = append(w.records, r), append(w.secrets, secret)
}
