package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

const (
	// fieldOwner owns what the controller writes.
	fieldOwner = client.FieldOwner("keygate-controller")
	// claimOwner owns the type and the owner of a delivery Secret that was there
	// before. It is another manager than fieldOwner, so that a claim never takes back
	// a token that was written.
	claimOwner = client.FieldOwner("keygate-controller-claim")
)

// keyIDAnnotation of a delivery Secret says which key its token is.
const keyIDAnnotation = "keygate.dev/key-id"

// deliverRounds bounds how often a delivery Secret is claimed again after somebody
// wrote it in between.
const deliverRounds = 5

// delivered is a delivery Secret as it was written.
type delivered struct {
	uid             types.UID
	resourceVersion string
}

// refusal is the API server's verdict that a delivery Secret can't be written: not
// an outage, and no use trying again at once.
type refusal struct{ reason, message string }

func (r *refusal) Error() string { return r.reason + ": " + r.message }

// deliver puts the token into the delivery Secret: a new one, else one that the
// APIKey owns. It reads no Secret: the answers to the writes say all. The error is
// a refusal, errLostRace where the token was given up meanwhile, or an outage; none
// holds the token.
func (r *keys) deliver(ctx context.Context, draft *issue) (delivered, error) {
	key := draft.world.key
	if key.Namespace == r.store.namespace {
		return delivered{}, &refusal{v1alpha1.ReasonDeliveryFailed, "no token is delivered to the namespace of the records: apply the APIKey in another one"}
	}
	ctx = logr.NewContext(ctx, logr.Discard()) // client-go may log what it sends
	secret := deliverySecret(key, draft)
	sent := maps.Clone(secret.Data)
	defer func() {
		wipe(sent)
		wipe(secret.Data) // what the answer was decoded to
	}()
	err := r.store.client.Create(ctx, secret)
	switch {
	case err == nil:
		return delivered{secret.UID, secret.ResourceVersion}, nil
	case !apierrors.IsAlreadyExists(err):
		return delivered{}, redact(draft.token, refusedBy(err, v1alpha1.ReasonDeliveryFailed, "the API server refuses the delivery Secret "+secret.Name))
	}
	for range deliverRounds {
		done, err := r.deliverOver(ctx, draft)
		if !apierrors.IsConflict(err) {
			return done, redact(draft.token, err)
		}
	}
	return delivered{}, fmt.Errorf("deliver: %w: the Secret %s is written by others all the time", errLostRace, secret.Name)
}

// deliverOver puts the token into a Secret that exists, if it is this APIKey's: the
// claim is refused for any other. Between the claim and the token, the token is
// made sure to be still the one that counts; what changes after that fails the
// token's precondition. The token comes as a merge patch, for only that removes what
// the Secret says of an earlier one.
func (r *keys) deliverOver(ctx context.Context, draft *issue) (delivered, error) {
	key, name := draft.world.key, deliveryName(draft.world.key)
	claim, err := r.claim(ctx, key)
	if err != nil {
		return delivered{}, refusedBy(err, v1alpha1.ReasonDeliveryConflict, "the Secret "+name+" exists and is not this APIKey's: delete it, or apply a new APIKey with another delivery.secretName")
	}
	ours, err := r.stillOurs(ctx, key, draft)
	if err != nil {
		return delivered{}, err
	}
	if !ours {
		return delivered{}, errLostRace
	}
	data := forms(draft)
	defer wipe(data)
	done, err := r.patchDelivery(ctx, key, types.MergePatchType, deliveryPatch(claim, draft.record.Digest.ID(), data), fieldOwner)
	switch {
	case apierrors.IsNotFound(err): // it was claimed, and is gone: claim it anew
		return delivered{}, apierrors.NewConflict(corev1.Resource("secrets"), name, err)
	case apierrors.IsConflict(err):
		return delivered{}, err
	}
	return done, refusedBy(err, v1alpha1.ReasonDeliveryConflict, "the Secret "+name+" cannot be written: delete it")
}

// deliverySecret is a new delivery Secret. What it says of the token are copies.
func deliverySecret(key *v1alpha1.APIKey, draft *issue) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       key.Namespace,
			Name:            deliveryName(key),
			Annotations:     map[string]string{keyIDAnnotation: draft.record.Digest.ID()},
			OwnerReferences: []metav1.OwnerReference{controllerRef(key)},
		},
		Type: keysecret.TypeToken,
		Data: forms(draft),
	}
}

// controllerRef makes an APIKey the controller of an object.
func controllerRef(key *v1alpha1.APIKey) metav1.OwnerReference {
	return *metav1.NewControllerRef(key, v1alpha1.GroupVersion.WithKind("APIKey"))
}

// claim applies the delivery Secret, with the APIKey as its controller and nothing of a
// token.
func (r *keys) claim(ctx context.Context, key *v1alpha1.APIKey) (delivered, error) {
	return r.patchDelivery(ctx, key, types.ApplyPatchType, map[string]any{
		"apiVersion": "v1",
		"kind":       "Secret",
		"metadata": map[string]any{
			"name":            deliveryName(key),
			"namespace":       key.Namespace,
			"ownerReferences": []metav1.OwnerReference{controllerRef(key)},
		},
		"type": keysecret.TypeToken,
	}, claimOwner, client.ForceOwnership)
}

// patchDelivery patches the delivery Secret. Of the answer only the metadata is ever
// received.
func (r *keys) patchDelivery(ctx context.Context, key *v1alpha1.APIKey, how types.PatchType, patch map[string]any, opts ...client.PatchOption) (delivered, error) {
	body, err := json.Marshal(patch)
	if err != nil {
		return delivered{}, err
	}
	defer clear(body)
	answer := secretMetadata(key)
	if err := r.store.client.Patch(ctx, answer, client.RawPatch(how, body), opts...); err != nil {
		return delivered{}, err
	}
	return delivered{answer.UID, answer.ResourceVersion}, nil
}

// secretMetadata names the delivery Secret.
func secretMetadata(key *v1alpha1.APIKey) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: deliveryName(key)},
	}
}

// refusedBy returns a refusal where err is the API server's considered answer, and
// err where it is an outage, a lost race, or nil.
func refusedBy(err error, reason, message string) error {
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsNotFound(err) || apierrors.IsRequestEntityTooLargeError(err) {
		return &refusal{reason, message + ": " + err.Error()}
	}
	return err
}

// redact returns err, or, where an admission webhook echoed the token into it, one
// that says so instead.
func redact(token []byte, err error) error {
	if err == nil {
		return nil
	}
	if !holdsToken([]byte(err.Error()), token) {
		return err
	}
	var refused *refusal
	if errors.As(err, &refused) {
		return &refusal{refused.reason, "the API server refuses the delivery Secret, and its answer holds the token"}
	}
	return errors.New("deliver: the API server's answer holds the token")
}

// collect deletes the delivery Secret of a record, if it is still that one, and
// reports whether it was.
func (r *keys) collect(ctx context.Context, key *v1alpha1.APIKey, record *apikey.Record) (found bool, err error) {
	if record.DeliveryUID == "" {
		return false, nil
	}
	return r.takeBack(ctx, key, delivered{uid: types.UID(record.DeliveryUID)})
}

// takeBack deletes a delivery Secret as it was written; without a resourceVersion,
// whatever was written to it since. One that is gone, or another by now, is well: it
// reports whether the Secret was found.
func (r *keys) takeBack(ctx context.Context, key *v1alpha1.APIKey, d delivered) (found bool, err error) {
	preconditions := client.Preconditions{UID: &d.uid}
	if d.resourceVersion != "" {
		preconditions.ResourceVersion = &d.resourceVersion
	}
	err = r.store.client.Delete(ctx, secretMetadata(key), preconditions)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) || fenced(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("delete the delivery Secret: %w", err)
	}
	return true, nil
}
