package keystore

import (
	"errors"
	"log/slog"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/scrub"
)

// Reasons for which an object of the keys namespace is rejected: metric labels.
const (
	rejectSeal        = "seal"         // the seal does not fit
	rejectSealVersion = "seal_version" // sealed with a key that is not live here
	rejectUnreadable  = "unreadable"   // sealed, but by a version that writes otherwise
	rejectName        = "name"         // a record under another name, or another type under a record's name
	rejectType        = "type"         // a type that has no business here
	rejectVersion     = "version"      // a resourceVersion that is not a number
	rejectMissing     = "missing"      // the root Secret is gone
)

// decoder turns Secrets of the keys namespace into items. Safe for concurrent use.
type decoder struct {
	root       *atomic.Pointer[keysecret.Root]
	interner   *interner
	rejections *rejections
	metrics    *metrics
	log        *slog.Logger
}

// decode never fails: what is wrong with a Secret is counted and told, and mostly
// makes its item unsound.
func (d *decoder) decode(secret *corev1.Secret) *item {
	it := newItem(secret.Name)
	var err error
	if it.version, err = parseVersion(secret.ResourceVersion); err != nil {
		d.reject(it, secret, rejectVersion, err)
		return it
	}
	switch {
	case secret.Type == keysecret.TypeRecord && it.isRecord():
		d.decodeRecord(it, secret)
	case secret.Type == keysecret.TypePolicy && !it.isRecord():
		d.decodePolicy(it, secret)
	case secret.Type == keysecret.TypeRecord || it.isRecord():
		d.reject(it, secret, rejectName, errors.New("the name does not fit the type"))
	default:
		d.reject(it, secret, rejectType, errors.New("this type of Secret does not belong here"))
	}
	return it
}

// newItem is an unsound item of a Secret's name.
func newItem(name string) *item {
	if digest, err := keysecret.DigestOf(name); err == nil && digest != (apikey.Digest{}) {
		return &item{digest: digest}
	}
	return &item{name: name}
}

// decodeRecord takes a sealed record that this version can't read for what it is:
// there is such a key, and it can't be judged. Its last good state may be wider
// than what it now says.
func (d *decoder) decodeRecord(it *item, secret *corev1.Secret) {
	record, err := d.root.Load().Sealer.DecodeRecord(secret)
	switch {
	case err == nil:
		it.entry = d.interner.compact(record, it.version)
	case sealReason(err) == rejectUnreadable:
		d.reject(it, secret, rejectUnreadable, err)
		it.entry = &entry{version: it.version, record: apikey.Record{Digest: it.digest}, unreadable: true}
	default:
		d.reject(it, secret, sealReason(err), err)
		return
	}
	it.sound = true
}

// decodePolicy makes as much of a sealed policy as this version can: at least its
// name and hosts, so that it is known to be there.
func (d *decoder) decodePolicy(it *item, secret *corev1.Secret) {
	source, err := d.root.Load().Sealer.DecodePolicy(secret)
	if err != nil && sealReason(err) != rejectUnreadable {
		d.reject(it, secret, sealReason(err), err)
		return
	}
	if err == nil {
		it.policy, err = compile(source)
	} else {
		it.policy = readHeader(secret)
	}
	if err != nil {
		d.reject(it, secret, rejectUnreadable, err)
	}
	it.sound = it.policy != nil
}

// sealReason is the reason for which a sealed Secret was not decoded.
func sealReason(err error) string {
	switch {
	case errors.Is(err, keysecret.ErrSeal):
		return rejectSeal
	case errors.Is(err, keysecret.ErrSealVersion):
		return rejectSealVersion
	default:
		return rejectUnreadable
	}
}

// reject counts an object that is not as it should be, and tells of it once. Names
// of records are digests and are not logged.
func (d *decoder) reject(it *item, secret *corev1.Secret, reason string, err error) {
	kind := kindOf(secret)
	d.metrics.rejected(kind, reason)
	if !d.rejections.add(secret.Name, it.version) {
		return
	}
	attrs := []any{"uid", secret.UID, "type", kind, "reason", reason, "error", scrub.Error(err)}
	if it.isRecord() {
		attrs = append(attrs, "key", it.digest.ID())
	}
	if kind == kindPolicy {
		attrs = append(attrs, "name", scrub.Text(secret.Name))
	}
	d.log.Warn("an object of the keys namespace can't be used", attrs...)
}

// kindOf is the metric label of a Secret's type.
func kindOf(secret *corev1.Secret) string {
	switch secret.Type {
	case keysecret.TypeRecord:
		return kindRecord
	case keysecret.TypePolicy:
		return kindPolicy
	default:
		return kindOther
	}
}
