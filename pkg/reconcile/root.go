package reconcile

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/pkg/keysecret"
)

// errRootLost is returned where records exist, but not what they are keyed and
// sealed with. A new root Secret would make every one of them worthless.
var errRootLost = errors.New("the root Secret is gone, but records exist: restore it from a backup; to give up every key that was issued, delete the Secrets of type " + string(keysecret.TypeRecord))

// rootStore reads and makes the root Secret, live.
type rootStore struct {
	client                         client.Client
	systemNamespace, keysNamespace string
}

// load returns the installation's root. It makes one only where there is none and
// the keys namespace holds no record; errRootLost otherwise. Several controllers
// may call it at once: one of them makes it.
func (s *rootStore) load(ctx context.Context) (*keysecret.Root, error) {
	root, err := s.read(ctx)
	if !apierrors.IsNotFound(err) {
		return root, err
	}
	held, err := s.holdsRecords(ctx)
	if err != nil {
		return nil, err
	}
	if !held {
		err := s.client.Create(ctx, keysecret.NewRootSecret(s.systemNamespace))
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("make the root Secret: %w", err)
		}
	}
	// Another controller may have made it since, and issued the records.
	root, err = s.read(ctx)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("%s/%s: %w", s.systemNamespace, keysecret.RootName, errRootLost)
	}
	return root, err
}

func (s *rootStore) read(ctx context.Context) (*keysecret.Root, error) {
	secret := &corev1.Secret{}
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: s.systemNamespace, Name: keysecret.RootName}, secret); err != nil {
		return nil, fmt.Errorf("read the root Secret: %w", err)
	}
	return keysecret.ParseRoot(secret)
}

func (s *rootStore) holdsRecords(ctx context.Context) (bool, error) {
	list := &corev1.SecretList{}
	err := s.client.List(ctx, list, client.InNamespace(s.keysNamespace), client.Limit(1), client.MatchingFields{"type": string(keysecret.TypeRecord)})
	if err != nil {
		return false, fmt.Errorf("look for records: %w", err)
	}
	return len(list.Items) > 0, nil
}
