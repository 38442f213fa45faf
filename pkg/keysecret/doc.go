// Package keysecret turns what Keygate knows into Secrets of the keys namespace
// and back, under a seal.
//
// The seal is a MAC over the content, its kind and the Secret's name. Who can
// write the keys namespace but lacks the seal key can therefore neither forge,
// widen, rename nor copy a record, a ledger or a policy; an older sealed form put
// back is noticed by the controller.
package keysecret

import corev1 "k8s.io/api/core/v1"

// Types of Secrets.
const (
	// TypeRecord holds one key's record, in the keys namespace.
	TypeRecord corev1.SecretType = "keygate.dev/hashed-key"
	// TypePolicy holds one accepted policy, in the keys namespace.
	TypePolicy corev1.SecretType = "keygate.dev/policy"
	// TypeLedger holds one APIKey's ledger, in the keys namespace.
	TypeLedger corev1.SecretType = "keygate.dev/ledger"
	// TypeRoot holds the peppers and seal keys, in the system namespace.
	TypeRoot corev1.SecretType = "keygate.dev/root"
	// TypeToken hands over one token, in the namespace of its APIKey.
	TypeToken corev1.SecretType = "keygate.dev/token"
)

// Labels of Secrets in the keys namespace, for people and selectors. They are
// never trusted.
const (
	LabelOwnerUID = "keygate.dev/owner-uid"
	LabelKeyID    = "keygate.dev/key-id"
	// LabelSeal is the version of the seal key, and LabelPepper that of a record's
	// pepper: once nothing has a version, it can be taken out of the root Secret.
	LabelSeal   = "keygate.dev/seal"
	LabelPepper = "keygate.dev/pepper"
)

// RootName is the name of the Secret of [TypeRoot].
const RootName = "keygate-root"
