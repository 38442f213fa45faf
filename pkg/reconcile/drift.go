package reconcile

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

// form is what a Secret of the keys namespace holds under a valid seal: one of
// the members, or none.
type form struct {
	record *apikey.Record
	ledger *keysecret.Ledger
	policy *policy.Source
}

// formOf reads a Secret. nil and what carries no valid seal are the zero form.
func formOf(sealer *keysecret.Sealer, secret *corev1.Secret) (f form) {
	if secret == nil {
		return form{}
	}
	switch secret.Type {
	case keysecret.TypeRecord:
		f.record, _ = sealer.DecodeRecord(secret)
	case keysecret.TypeLedger:
		f.ledger, _ = sealer.DecodeLedger(secret)
	case keysecret.TypePolicy:
		f.policy, _ = sealer.DecodePolicy(secret)
	}
	return f
}

// drift remembers what the keys namespace held before somebody other than the
// controller changed it for the worse, until it was put back: a form whose seal
// was broken, one that an older form took the place of, and one that was deleted
// though the controller never deletes such. Safe for concurrent use.
type drift struct {
	sealer *keysecret.Sealer
	now    func() time.Time

	mu sync.Mutex
	// good are the lost forms, by the name of the Secret.
	good map[string]form
}

func newDrift(sealer *keysecret.Sealer, now func() time.Time) *drift {
	return &drift{sealer: sealer, now: now, good: map[string]form{}}
}

// observe takes one change of a Secret: next is nil where it was deleted. It may
// be told of the same change more than once.
func (d *drift) observe(before, next *corev1.Secret) {
	old := formOf(d.sealer, before)
	if !d.worse(old, formOf(d.sealer, next), next == nil) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !supersedes(d.good[before.Name], old) {
		d.good[before.Name] = old
	}
}

// worse reports whether a change from old to next is none that the controller makes.
func (d *drift) worse(old, next form, deleted bool) bool {
	switch {
	case old.record != nil && deleted:
		return old.record.State != apikey.Pending && !pastRetention(old.record, d.now())
	case old.ledger != nil && deleted:
		return false // it is rebuilt from the records, or gone with its APIKey
	case old.policy != nil && deleted:
		return true // the policy's controller knows whether the policy is gone too
	case old.record != nil || old.policy != nil:
		return !supersedes(next, old)
	case old.ledger != nil:
		return next.ledger == nil
	}
	return false
}

// supersedes reports whether a holds what b does, in the same form or a newer one.
func supersedes(a, b form) bool {
	switch {
	case b.record != nil:
		return a.record != nil && a.record.Revision >= b.record.Revision
	case b.policy != nil:
		return a.policy != nil && (a.policy.UID != b.policy.UID || a.policy.Generation >= b.policy.Generation)
	case b.ledger != nil:
		return a.ledger != nil
	}
	return true
}

// lost returns the form that a Secret must be put back to, and whether there is one.
func (d *drift) lost(name string) (form, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	good, ok := d.good[name]
	return good, ok
}

// settle forgets a Secret that was put back, or that must not be.
func (d *drift) settle(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.good, name)
}

// holds reports whether anything of an APIKey is about to be put back: until then
// what is stored must not be judged.
func (d *drift) holds(ownerUID string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, good := range d.good {
		if good.record != nil && good.record.Owner.UID == ownerUID || good.ledger != nil && good.ledger.Owner.UID == ownerUID {
			return true
		}
	}
	return false
}
