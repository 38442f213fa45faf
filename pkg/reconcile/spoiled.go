package reconcile

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// ending reports whether the APIKey is revoked or being deleted: then what cannot be
// read must not be left as it is, for extauthz goes on by what it last read there.
func (w *world) ending() bool {
	return w.key.Spec.State == v1alpha1.StateRevoked || !w.key.DeletionTimestamp.IsZero()
}

// rebuilt is what the ledger and the APIKey tell of a record that cannot be read, in
// a state that lets nobody in: good for nothing but to be revoked. Its revision, the
// milliseconds since 1970, is beyond any that writes were counted to, so that no
// earlier form of the record passes for a newer one.
func (r *keys) rebuilt(w *world, serial int64, entry keysecret.LedgerEntry) *apikey.Record {
	ref := policyOf(w.key)
	return &apikey.Record{
		Digest:      entry.Digest,
		Pepper:      r.peppers.Newest(),
		Owner:       ownerOf(w.key),
		Serial:      serial,
		Policy:      apikey.Ref{Namespace: ref.Namespace, Name: ref.Name},
		Environment: entry.Environment,
		State:       apikey.NotGranted,
		Revision:    w.now.UnixMilli(),
	}
}

// isRebuilt reports whether a record is such a rebuilt one that was not written.
func isRebuilt(r *apikey.Record) bool {
	return r.IssuedAt.IsZero() && r.State == apikey.NotGranted
}

// discardSuspects deletes the suspects of an APIKey that ends, but for those that a
// record was written over. extauthz forgets what is deleted.
func (r *keys) discardSuspects(ctx context.Context, w *world) error {
	for i := range w.suspects {
		suspect := &w.suspects[i]
		if slices.ContainsFunc(w.secrets, func(s *corev1.Secret) bool { return s.Name == suspect.Name }) {
			continue
		}
		if err := r.store.remove(ctx, suspect); err != nil {
			return err
		}
	}
	return nil
}
