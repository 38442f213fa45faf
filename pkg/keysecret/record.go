package keysecret

import (
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/pkg/apikey"
)

// recordField is the member of the data that holds a record, as JSON.
const recordField = "record"

// recordPrefix begins the names of Secrets that hold records; the digest follows.
const recordPrefix = "key-"

// RecordName is the name of the Secret that holds the record of a digest.
func RecordName(digest apikey.Digest) string { return recordPrefix + digest.String() }

// DigestOf is the digest that a record's Secret is named from.
func DigestOf(name string) (apikey.Digest, error) {
	if len(name) < len(recordPrefix) || name[:len(recordPrefix)] != recordPrefix {
		return apikey.Digest{}, fmt.Errorf("%q is not the name of a record", name)
	}
	return apikey.ParseDigest(name[len(recordPrefix):])
}

// EncodeRecord makes the sealed Secret of a record, without a resourceVersion.
// The error is that of an invalid record.
func (s *Sealer) EncodeRecord(namespace string, r *apikey.Record) (*corev1.Secret, error) {
	content, err := apikey.MarshalRecord(r)
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      RecordName(r.Digest),
			Labels: map[string]string{
				LabelOwnerUID: r.Owner.UID, LabelKeyID: r.Digest.ID(), LabelPepper: strconv.Itoa(r.Pepper),
			},
		},
		Type: TypeRecord,
	}
	s.seal(secret, recordField, content)
	return secret, nil
}

// DecodeRecord reads the record from its Secret. It returns [ErrSeal] or
// [ErrSealVersion] where the seal is not right, and other errors for a sealed
// record that this version can't read.
func (s *Sealer) DecodeRecord(secret *corev1.Secret) (*apikey.Record, error) {
	if secret.Type != TypeRecord {
		return nil, fmt.Errorf("a record is of type %s, not %q", TypeRecord, secret.Type)
	}
	content, err := s.open(secret, recordField)
	if err != nil {
		return nil, err
	}
	r, err := apikey.ParseRecord(content)
	if err != nil {
		return nil, err
	}
	if RecordName(r.Digest) != secret.Name {
		return nil, errors.New("the record is of another digest than its name says")
	}
	return r, nil
}

// Current reports whether a Secret is sealed with the newest key. It says nothing
// of the seal's worth.
func (s *Sealer) Current(secret *corev1.Secret) bool { return s.current(secret) }
