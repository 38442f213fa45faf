package keysecret

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/pkg/policy"
)

// policyField is the member of the data that holds an accepted policy, as JSON.
const policyField = "policy"

// MaxPolicySize is the largest accepted policy, in bytes of JSON: what fits a
// Secret (1 MiB) with room for its metadata.
const MaxPolicySize = 900 << 10

// ErrPolicyTooLarge is returned for a policy of more than [MaxPolicySize] bytes.
var ErrPolicyTooLarge = fmt.Errorf("the policy has more than %d KiB as JSON", MaxPolicySize>>10)

// PolicyName is the name of the Secret that holds an accepted policy. It depends
// on the policy's namespace and name only: a policy that is deleted and made again
// takes the place of the first.
func PolicyName(namespace, name string) string {
	sum := sha256.Sum256([]byte(namespace + "/" + name))
	return "policy-" + hex.EncodeToString(sum[:16])
}

// EncodePolicy makes the sealed Secret of an accepted policy, without a
// resourceVersion. It returns [ErrPolicyTooLarge] where that applies.
func (s *Sealer) EncodePolicy(namespace string, source *policy.Source) (*corev1.Secret, error) {
	content, err := policy.MarshalSource(source)
	if err != nil {
		return nil, err
	}
	if len(content) > MaxPolicySize {
		return nil, ErrPolicyTooLarge
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      PolicyName(source.Namespace, source.Name),
			Labels:    map[string]string{LabelOwnerUID: source.UID},
		},
		Type: TypePolicy,
	}
	s.seal(secret, policyField, content)
	return secret, nil
}

// DecodePolicy reads the accepted policy from its Secret. It returns [ErrSeal] or
// [ErrSealVersion] where the seal is not right, and other errors for a sealed
// policy that this version can't read.
func (s *Sealer) DecodePolicy(secret *corev1.Secret) (*policy.Source, error) {
	if secret.Type != TypePolicy {
		return nil, fmt.Errorf("a policy is of type %s, not %q", TypePolicy, secret.Type)
	}
	content, err := s.open(secret, policyField)
	if err != nil {
		return nil, err
	}
	source, err := policy.ParseSource(content)
	if err != nil {
		return nil, err
	}
	if PolicyName(source.Namespace, source.Name) != secret.Name {
		return nil, errors.New("the policy is another than its name says")
	}
	return source, nil
}
