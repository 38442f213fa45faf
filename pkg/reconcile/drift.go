package reconcile

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	// good are the losses, by the name of the Secret.
	good map[string]loss
}

// loss is the form that a Secret must be put back to.
type loss struct {
	form
	// times that the Secret was seen to be changed for the worse.
	times int
}

func newDrift(sealer *keysecret.Sealer, now func() time.Time) *drift {
	return &drift{sealer: sealer, now: now, good: map[string]loss{}}
}

// observe takes one change of a Secret: next is nil where it was deleted. It may
// be told of the same change more than once, and, by a listener that lags, after it
// was undone: who observes must look again at what heldOf names, or the policy.
func (d *drift) observe(before, next *corev1.Secret) {
	old := formOf(d.sealer, before)
	if !d.worse(old, formOf(d.sealer, next), next == nil) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.good[before.Name]
	if !supersedes(known.form, old) {
		known.form = old
	}
	known.times++
	d.good[before.Name] = known
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

// supersedes reports whether a holds what b does, in the same form or a newer one. A
// key that another APIKey registered anew has a newer record than the tombstone it
// took the place of; one that is registered where a record was lost has an older.
func supersedes(a, b form) bool {
	switch {
	case b.record != nil:
		return a.record != nil && (a.record.Revision > b.record.Revision ||
			a.record.Revision == b.record.Revision && a.record.Owner.UID == b.record.Owner.UID)
	case b.policy != nil:
		return a.policy != nil && (a.policy.UID != b.policy.UID || a.policy.Generation >= b.policy.Generation)
	case b.ledger != nil:
		return a.ledger != nil
	}
	return true
}

// lost returns what a Secret must be put back to, and whether there is anything.
func (d *drift) lost(name string) (loss, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	lost, ok := d.good[name]
	return lost, ok
}

// settle forgets a loss that was made good, or that must not be, unless the Secret
// was changed for the worse again since.
func (d *drift) settle(name string, lost loss) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.good[name] == lost {
		delete(d.good, name)
	}
}

// heldOf names the lost records and ledgers of the APIKeys, that is and those that
// were, of a name: until they are put back, what is stored must not be judged.
func (d *drift) heldOf(key client.ObjectKey) (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, good := range d.good {
		if owner, ok := good.owner(); ok && owner.Namespace == key.Namespace && owner.Name == key.Name {
			names = append(names, name)
		}
	}
	return names
}

// owner is the APIKey of a record or a ledger.
func (f form) owner() (apikey.Ref, bool) {
	switch {
	case f.record != nil:
		return f.record.Owner, true
	case f.ledger != nil:
		return f.ledger.Owner, true
	}
	return apikey.Ref{}, false
}
