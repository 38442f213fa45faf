package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// A key that was made elsewhere is registered by one write: its record, Active. The
// record's name, which follows from the key, is the lock. There is nothing to deliver,
// so nothing is ever Pending.
//
// No ledger is needed to find the record. One is kept all the same, and written like
// one that was lost, from the record: it proves that a record which cannot be read any
// more was this APIKey's, so that it can be revoked.

// registeredSerial is the serial of a key that was made elsewhere: it has no successor.
const registeredSerial int64 = 1

// duplicate is in the way of registering a key that another APIKey has. It says neither
// whose that is nor which of the reasons it is, for whoever knows a key's hash may ask.
var duplicate = obstacle{v1alpha1.ReasonDuplicateKey, "the key of this spec.sha256 cannot be registered: another APIKey has it, or had it when it was revoked. Make a new key, and apply a new APIKey with its SHA-256; or, if the other APIKey is yours, delete it: this one takes over then, unless the key was revoked"}

// registers reports whether an APIKey registers a key that was made elsewhere.
func registers(key *v1alpha1.APIKey) bool { return key.Spec.SHA256 != "" }

// digestsOf are the digests of the key that an APIKey registers, under every live
// pepper, the newest first: minted and registered keys may be keyed with any of them.
// None where it registers none.
func digestsOf(peppers *apikey.Peppers, key *v1alpha1.APIKey) []apikey.Digest {
	hash, err := apikey.ParseHash(key.Spec.SHA256)
	if err != nil {
		return nil // there is none: the API server lets no other text through
	}
	return peppers.Registered(hash)
}

// recordNames are the names that the record of such a key may have.
func recordNames(peppers *apikey.Peppers, key *v1alpha1.APIKey) []string {
	var names []string
	for _, digest := range digestsOf(peppers, key) {
		names = append(names, keysecret.RecordName(digest))
	}
	return names
}

// isAnothers reports whether a Secret is, by its seal, the record of another APIKey:
// of one that registered the same key.
func (s *store) isAnothers(key *v1alpha1.APIKey, secret *corev1.Secret) bool {
	record := formOf(s.sealer, secret).record
	return record != nil && record.Owner.UID != string(key.UID)
}

// isVacant reports whether a key can be registered where a Secret is: there is none,
// or the tombstone of a key that was deleted without being revoked.
func (s *store) isVacant(secret *corev1.Secret) bool {
	if secret == nil {
		return true
	}
	record := formOf(s.sealer, secret).record
	return record != nil && record.State == apikey.Deleted && record.RetiredAt != nil
}

// observeRegistered finds out whether the key that an APIKey registers, and does not
// have, is another's, or has a record that cannot be read. Whose that is nobody knows:
// it is left alone, unless the ledger told.
func (r *keys) observeRegistered(ctx context.Context, w *world) error {
	if len(w.records) > 0 || w.ending() {
		return nil
	}
	for _, name := range recordNames(r.peppers, w.key) {
		secret, err := r.store.cached(ctx, name)
		if err != nil {
			return err
		}
		if _, lost := r.drift.lost(name); lost { // after the cache, which may know first
			return fmt.Errorf("%w: a record is still to be put back", errLostRace)
		}
		switch {
		case r.store.isVacant(secret):
		case r.store.isAnothers(w.key, secret):
			w.taken = true
		case w.unreadable == "":
			w.unreadable = secret.Name
		}
	}
	return nil
}

// register writes the record of a key that was made elsewhere, and puts it among the
// facts. Of several APIKeys that try, one makes the record or writes it over the
// tombstone that all of them read; the others look again, and find it taken.
func (r *keys) register(ctx context.Context, w *world, want *desired) error {
	over, err := r.vacancy(ctx, w.key)
	if err != nil {
		return err
	}
	if err := r.hold(ctx, w.key); err != nil {
		return err
	}
	r.events.held(w.key)
	record := &apikey.Record{
		Digest:      digestsOf(r.peppers, w.key)[0],
		Pepper:      r.peppers.Newest(),
		Owner:       ownerOf(w.key),
		Serial:      registeredSerial,
		Policy:      w.policy.Ref(),
		Environment: want.environment,
		IssuedAt:    w.now.UTC().Truncate(time.Second),
	}
	if over != nil {
		record.Revision = formOf(r.store.sealer, over).record.Revision
	}
	w.fill(record, w.grant(want.environment))
	secret, err := r.store.putRecord(ctx, record, over)
	if err != nil {
		return err
	}
	w.set(record, secret)
	r.events.registered(w.key, record)
	return nil
}

// vacancy makes sure, live, that nobody has the key under any pepper, and returns the
// tombstone that its record is to be written over; nil: it is new. A controller that has
// not read the newest pepper yet looks at fewer names, so that it could register the key
// a second time: a race that is accepted, for only the leader registers.
func (r *keys) vacancy(ctx context.Context, key *v1alpha1.APIKey) (over *corev1.Secret, err error) {
	names := recordNames(r.peppers, key)
	if len(names) == 0 {
		return nil, errors.New("register: spec.sha256 is none")
	}
	for i, name := range names {
		secret, err := r.store.fetch(ctx, name)
		if err != nil {
			return nil, err
		}
		if !r.store.isVacant(secret) {
			return nil, fmt.Errorf("%w: the key was just registered", errLostRace) // the cache will tell
		}
		if i == 0 {
			over = secret
		}
	}
	return over, nil
}

// registration is the Delivered condition of a key that was made elsewhere.
func registration(registered bool) metav1.Condition {
	if registered {
		return yes(v1alpha1.ConditionDelivered, v1alpha1.ReasonRegistered, "the key was made elsewhere and is registered by its SHA-256: its holder has it, and there is no Secret")
	}
	return no(v1alpha1.ConditionDelivered, v1alpha1.ReasonNothingIssued, "the key is not registered; the Ready condition says why")
}
