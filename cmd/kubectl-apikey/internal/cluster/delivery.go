package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
)

const (
	// tokenType is the type of a delivery Secret.
	tokenType = corev1.SecretType("keygate.dev/token")
	// tokenField is the member of its data that holds the token.
	tokenField = "token"
	// keyIDAnnotation of it says which key its token is.
	keyIDAnnotation = "keygate.dev/key-id"
)

// ErrForeign is returned for a Secret that is in the place of a delivery Secret and is
// none of the APIKey's.
var ErrForeign = errors.New("the Secret is not this APIKey's: its token was not issued by Keygate")

// Delivery is a token that waits to be collected.
type Delivery struct {
	// Token is the token. Whoever has it clears it after use.
	Token []byte
	// KeyID is the public name of the key.
	KeyID string
	// Secret that holds it.
	Secret client.ObjectKey

	uid             types.UID
	resourceVersion string
}

// SecretName is the name of an APIKey's delivery Secret.
func SecretName(key *v1alpha1.APIKey) string {
	if key.Spec.Delivery.SecretName != "" {
		return key.Spec.Delivery.SecretName
	}
	return key.Name
}

// Delivery reads the token of an APIKey. The error is [ErrForeign], or one of the API
// server's: NotFound where the token was collected, or not delivered yet.
func (c *Cluster) Delivery(ctx context.Context, key *v1alpha1.APIKey) (*Delivery, error) {
	secret := &corev1.Secret{}
	name := client.ObjectKey{Namespace: key.Namespace, Name: SecretName(key)}
	if err := c.client.Get(silent(ctx), name, secret); err != nil {
		return nil, err
	}
	if secret.Type != tokenType || !metav1.IsControlledBy(secret, key) || len(secret.Data[tokenField]) == 0 {
		for _, value := range secret.Data {
			clear(value)
		}
		return nil, fmt.Errorf("%s: %w", name, ErrForeign)
	}
	return &Delivery{
		Token: secret.Data[tokenField], KeyID: secret.Annotations[keyIDAnnotation], Secret: name,
		uid: secret.UID, resourceVersion: secret.ResourceVersion,
	}, nil
}

// Collect deletes the Secret of a token that was handed to its holder, as it was read:
// one that holds another token by now is left alone. Then it tells the controller, if
// the user may; the controller finds out by itself, too, only later.
func (c *Cluster) Collect(ctx context.Context, key *v1alpha1.APIKey, d *Delivery) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: d.Secret.Namespace, Name: d.Secret.Name}}
	precondition := client.Preconditions{UID: &d.uid, ResourceVersion: &d.resourceVersion}
	err := c.client.Delete(silent(ctx), secret, precondition)
	told := c.tellCollected(ctx, key, d)
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return nil
	case told == nil: // then the controller deletes it
		return nil
	}
	return fmt.Errorf("delete the Secret %s: %w", d.Secret, err)
}

// tellCollected notes on the APIKey which key was collected.
func (c *Cluster) tellCollected(ctx context.Context, key *v1alpha1.APIKey, d *Delivery) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         key.UID,
		"annotations": map[string]string{v1alpha1.AnnotationCollected: d.KeyID},
	}})
	if err != nil {
		return err
	}
	there := &v1alpha1.APIKey{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	return c.client.Patch(ctx, there, client.RawPatch(types.MergePatchType, body), fieldManager)
}
