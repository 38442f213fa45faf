package keysecret

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/pkg/apikey"
)

// Members of the root Secret's data are these prefixes and a version.
const (
	pepperField = "pepper-"
	sealKey     = "seal-"
)

// Root is the secrets of an installation.
type Root struct {
	// Peppers that digests are keyed with.
	Peppers *apikey.Peppers
	// Sealer that the keys namespace is sealed with.
	Sealer *Sealer
}

// NewRootSecret makes a root Secret with version 1 of both secrets.
func NewRootSecret(namespace string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: RootName},
		Type:       TypeRoot,
		Data: map[string][]byte{
			pepperField + "1": random(apikey.PepperSize),
			sealKey + "1":     random(SealKeySize),
		},
	}
}

// ParseRoot reads the root Secret. The errors say which member is wrong, never
// what it holds.
func ParseRoot(secret *corev1.Secret) (*Root, error) {
	peppers, seals := map[int][]byte{}, map[int][]byte{}
	var errs []error
	for name, value := range secret.Data {
		into, number := peppers, ""
		switch {
		case strings.HasPrefix(name, pepperField):
			number = strings.TrimPrefix(name, pepperField)
		case strings.HasPrefix(name, sealKey):
			into, number = seals, strings.TrimPrefix(name, sealKey)
		default:
			errs = append(errs, fmt.Errorf("unknown member %q", name))
			continue
		}
		version, err := strconv.Atoi(number)
		if err != nil || strconv.Itoa(version) != number {
			errs = append(errs, fmt.Errorf("member %q does not end in a version", name))
			continue
		}
		into[version] = value
	}
	root := &Root{}
	var err error
	if root.Peppers, err = apikey.NewPeppers(peppers); err != nil {
		errs = append(errs, err)
	}
	if root.Sealer, err = NewSealer(seals); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("root Secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	return root, nil
}

// random is n bytes from crypto/rand, which never fails (Go 1.24).
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
