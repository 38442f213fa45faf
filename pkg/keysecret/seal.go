package keysecret

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// SealKeySize is the size of a seal key, in bytes.
const SealKeySize = 32

// MaxSealKeys is how many versions of the seal key may be live at once.
const MaxSealKeys = 3

// sealContext keeps this MAC apart from any other that the key might be used for.
const sealContext = "keygate.dev/seal/v1"

// sealField is the member of a Secret's data that holds the seal:
// "<version>:<64 hex digits>".
const sealField = "seal"

// ErrSeal is returned for content whose seal is missing or does not fit.
var ErrSeal = errors.New("the seal does not fit the content")

// ErrSealVersion is returned for a seal made with a key that is not live.
var ErrSealVersion = errors.New("the seal was made with a key that is not here")

// Sealer seals and opens Secrets. Safe for concurrent use.
type Sealer struct {
	// keys by version.
	keys map[int][]byte
	// newest is the version that seals are made with.
	newest int
}

// NewSealer takes the live seal keys by version: 1 to [MaxSealKeys] of them, each
// [SealKeySize] bytes and with a version above 0.
func NewSealer(byVersion map[int][]byte) (*Sealer, error) {
	if len(byVersion) == 0 || len(byVersion) > MaxSealKeys {
		return nil, fmt.Errorf("1 to %d seal keys are needed, not %d", MaxSealKeys, len(byVersion))
	}
	s := &Sealer{keys: map[int][]byte{}}
	for version, key := range byVersion {
		if version < 1 || len(key) != SealKeySize {
			return nil, fmt.Errorf("seal key %d has %d bytes: %d are needed, and a version above 0", version, len(key), SealKeySize)
		}
		s.keys[version] = slices.Clone(key)
		s.newest = max(s.newest, version)
	}
	return s, nil
}

// seal puts content and its seal into the Secret's data, in place of what is there,
// and the seal's version into a label.
func (s *Sealer) seal(secret *corev1.Secret, field string, content []byte) {
	mac := s.mac(s.newest, secret, field, content)
	secret.Data = map[string][]byte{
		field:     content,
		sealField: []byte(strconv.Itoa(s.newest) + ":" + hex.EncodeToString(mac)),
	}
	if secret.Labels == nil {
		secret.Labels = map[string]string{}
	}
	secret.Labels[LabelSeal] = strconv.Itoa(s.newest)
}

// open returns the content of a Secret whose seal fits, else [ErrSeal] or
// [ErrSealVersion]. Other members of the data are not looked at.
func (s *Sealer) open(secret *corev1.Secret, field string) ([]byte, error) {
	number, digits, found := strings.Cut(string(secret.Data[sealField]), ":")
	if !found {
		return nil, ErrSeal
	}
	version, err := strconv.Atoi(number)
	if err != nil {
		return nil, ErrSeal
	}
	if s.keys[version] == nil {
		return nil, fmt.Errorf("%w: version %d", ErrSealVersion, version)
	}
	got, err := hex.DecodeString(digits)
	if err != nil {
		return nil, ErrSeal
	}
	content := secret.Data[field]
	if !hmac.Equal(got, s.mac(version, secret, field, content)) {
		return nil, ErrSeal
	}
	return content, nil
}

// current reports whether the Secret's seal was made with the newest key.
func (s *Sealer) current(secret *corev1.Secret) bool {
	number, _, _ := strings.Cut(string(secret.Data[sealField]), ":")
	return number == strconv.Itoa(s.newest)
}

// mac is over every part with its length before it, so that no two sets of parts
// read alike.
func (s *Sealer) mac(version int, secret *corev1.Secret, field string, content []byte) []byte {
	mac := hmac.New(sha256.New, s.keys[version])
	for _, part := range []string{sealContext, string(secret.Type), secret.Namespace, secret.Name, field} {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(part)))
		_, _ = io.WriteString(mac, part)
	}
	mac.Write(content)
	return mac.Sum(nil)
}
