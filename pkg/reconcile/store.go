package reconcile

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
	"keygate.dev/keygate/pkg/scrub"
)

// store is the keys namespace: reads from the informer's cache or live, and
// writes that are lost to whoever wrote first. The Secrets that it returns from
// the cache are shared: read only.
type store struct {
	client    client.Client // reads from the cache
	live      client.Reader // reads from the API server, consistently
	sealer    *keysecret.Sealer
	namespace string
}

// stored is a record and the Secret that it was read from.
type stored struct {
	record *apikey.Record
	secret *corev1.Secret
}

// cached returns a Secret from the cache, nil where there is none.
func (s *store) cached(ctx context.Context, name string) (*corev1.Secret, error) {
	return s.get(ctx, s.client, name)
}

// fetch returns a Secret as it is now, nil where there is none.
func (s *store) fetch(ctx context.Context, name string) (*corev1.Secret, error) {
	return s.get(ctx, s.live, name)
}

func (s *store) get(ctx context.Context, from client.Reader, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := from.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %s: %w", scrub.Text(name), err)
	}
	return secret, nil
}

// indexed returns the cached Secrets under a value of the index.
func (s *store) indexed(ctx context.Context, value string) ([]corev1.Secret, error) {
	list := &corev1.SecretList{}
	err := s.client.List(ctx, list, client.InNamespace(s.namespace), client.MatchingFields{secretIndex: value}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list Secrets by %s: %w", value, err)
	}
	return list.Items, nil
}

// recordsOf returns the cached records that are sealed as this owner's.
func (s *store) recordsOf(ctx context.Context, ownerUID string) ([]stored, error) {
	secrets, err := s.indexed(ctx, byOwner(ownerUID))
	if err != nil {
		return nil, err
	}
	records := make([]stored, 0, len(secrets))
	for i := range secrets {
		if record, err := s.sealer.DecodeRecord(&secrets[i]); err == nil {
			records = append(records, stored{record, &secrets[i]})
		}
	}
	return records, nil
}

// putRecord writes a record, as the revision after its own, over the Secret that
// it was derived from (nil: it is new), and sets r.Revision.
func (s *store) putRecord(ctx context.Context, r *apikey.Record, over *corev1.Secret) (*corev1.Secret, error) {
	next := *r
	next.Revision++
	secret, err := s.sealer.EncodeRecord(s.namespace, &next)
	if err != nil {
		return nil, err
	}
	if err := s.put(ctx, secret, over); err != nil {
		return nil, err
	}
	r.Revision = next.Revision
	return secret, nil
}

// putLedger writes a ledger over the Secret that it was derived from (nil: it is new).
func (s *store) putLedger(ctx context.Context, l *keysecret.Ledger, over *corev1.Secret) (*corev1.Secret, error) {
	secret, err := s.sealer.EncodeLedger(s.namespace, l)
	if err != nil {
		return nil, err
	}
	return secret, s.put(ctx, secret, over)
}

func (s *store) putPolicy(ctx context.Context, source *policy.Source, over *corev1.Secret) error {
	secret, err := s.sealer.EncodePolicy(s.namespace, source)
	if err != nil {
		return err
	}
	return s.put(ctx, secret, over)
}

// put creates secret, or writes it over what over was read as; errLostRace where
// something else is there by now.
func (s *store) put(ctx context.Context, secret, over *corev1.Secret) error {
	if over != nil && (over.Type != secret.Type || over.Immutable != nil && *over.Immutable) {
		// Somebody put a Secret here that cannot be written over.
		if err := s.remove(ctx, over); err != nil {
			return err
		}
		over = nil
	}
	if over == nil {
		if err := s.client.Create(ctx, secret); err != nil {
			return fmt.Errorf("create Secret %s: %w", scrub.Text(secret.Name), raced(err, apierrors.IsAlreadyExists))
		}
		return nil
	}
	secret.UID, secret.ResourceVersion = over.UID, over.ResourceVersion
	if err := s.client.Update(ctx, secret); err != nil {
		return fmt.Errorf("update Secret %s: %w", scrub.Text(secret.Name), raced(err, apierrors.IsConflict, apierrors.IsNotFound))
	}
	return nil
}

// remove deletes the very Secret that was read; errLostRace where it is gone or was
// written since.
func (s *store) remove(ctx context.Context, secret *corev1.Secret) error {
	err := s.client.Delete(ctx, secret, client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
	if err != nil {
		return fmt.Errorf("delete Secret %s: %w", scrub.Text(secret.Name), raced(err, apierrors.IsConflict, apierrors.IsNotFound))
	}
	return nil
}

// errLostRace is returned where a write failed because what it was derived from is
// not what is there now. Then the answer is to look again.
var errLostRace = errors.New("lost a race against another writer")

// raced returns errLostRace where err is one of the kinds, else err.
func raced(err error, kinds ...func(error) bool) error {
	for _, is := range kinds {
		if is(err) {
			return fmt.Errorf("%w: %w", errLostRace, err)
		}
	}
	return err
}
