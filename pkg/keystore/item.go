package keystore

import (
	"fmt"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
)

// item is all that is kept of one Secret of the keys namespace. It passes for an
// object of the API, so that client-go can carry it.
type item struct {
	// digest that the Secret is named from; zero: it is not named as a record.
	digest apikey.Digest
	// name of the Secret, where digest is zero.
	name string
	// version is the Secret's resourceVersion; 0 if it can't be read.
	version uint64
	// sound: the seal fits and this version of Keygate can tell what it is. What is
	// not sound is there, but says nothing.
	sound bool
	// entry of a sound record; nil where there was no room for it.
	entry *entry
	// policy of a sound policy, compiled as far as it can be.
	policy *policy.Entry
}

// isRecord reports whether the Secret is named as a record.
func (it *item) isRecord() bool { return it.digest != apikey.Digest{} }

// GetObjectKind implements [runtime.Object].
func (it *item) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements [runtime.Object]. Items are never changed once made.
func (it *item) DeepCopyObject() runtime.Object {
	copied := *it
	return &copied
}

// GetObjectMeta implements [metav1.ObjectMetaAccessor].
func (it *item) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{ResourceVersion: strconv.FormatUint(it.version, 10)}
}

// parseVersion reads a resourceVersion. They are ordered as numbers within one
// resource: see [resourceversion.CompareResourceVersion].
func parseVersion(s string) (uint64, error) {
	if _, err := resourceversion.CompareResourceVersion(s, s); err != nil {
		return 0, err
	}
	version, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("resourceVersion: %w", err)
	}
	return version, nil
}
