package reconcile

import (
	"context"

	corev1 "k8s.io/api/core/v1"
)

// reseal writes a record or a ledger again whose seal was made with an older key
// than the newest, and reports whether it did. Once no Secret is sealed with a key
// any more (see keysecret.LabelSeal), the key can be taken out of the root Secret.
// Policies are resealed by their own reconciler.
func (s *sweeper) reseal(ctx context.Context, held form, secret *corev1.Secret) (bool, error) {
	if s.store.sealer.Current(secret) {
		return false, nil
	}
	switch {
	case held.record != nil:
		same := *held.record
		_, err := s.store.putRecord(ctx, &same, secret)
		return true, err
	case held.ledger != nil:
		_, err := s.store.putLedger(ctx, held.ledger, secret)
		return true, err
	}
	return false, nil
}
