package reconcile

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

// serial is the only one that an APIKey has: nothing asks for a second token yet.
const serial int64 = 1

// defaultTTL is how long an uncollected delivery Secret is kept where the APIKey
// does not say.
const defaultTTL = 24 * time.Hour

// facts is everything that one APIKey is judged by. Its status is not among them.
type facts struct {
	key *v1alpha1.APIKey
	// policy is the accepted form of the policy; nil: none is in force.
	policy *policy.Policy
	// declared: the APIKeyPolicy exists, accepted or not.
	declared bool
	// labels of the APIKey's namespace.
	labels map[string]string
	// ledger of the APIKey; nil: there is none.
	ledger *keysecret.Ledger
	// records that are sealed as the APIKey's.
	records []*apikey.Record
	// unreadable names a Secret that should be the APIKey's but cannot be read; "": none.
	unreadable string
	// failure of the last attempt to deliver a token of this generation; nil: none.
	failure *failure
	// now is the moment that everything is judged at.
	now time.Time
}

// desired is what ought to be, given the facts.
type desired struct {
	// elected is the one record of the serial that may let callers in, in its
	// desired form; nil: nothing is issued.
	elected *apikey.Record
	// records in their desired form, in the order of the facts.
	records []*apikey.Record
	// ledger to be written; nil: it is right as it is.
	ledger *keysecret.Ledger
	// mint: a token is to be minted, in this environment.
	mint        bool
	environment string
	// ready and delivered are the conditions, without times.
	ready, delivered metav1.Condition
	// wake is when the facts will judge differently by themselves; zero: never.
	wake time.Time
}

// decide is what ought to be. It is a pure function.
func decide(f *facts) *desired {
	d := &desired{}
	elected := f.elect()
	d.environment = f.environment(elected)
	grant := f.grant(d.environment)
	for _, r := range f.records {
		want := f.want(r, elected, grant)
		if r == elected {
			d.elected = want
		}
		d.records = append(d.records, want)
	}
	d.ledger = f.repairedLedger(elected)
	f.judge(d, grant)
	d.wake = f.wake(d)
	return d
}

// entry is what the ledger says of the serial.
func (f *facts) entry() (keysecret.LedgerEntry, bool) {
	if f.ledger == nil {
		return keysecret.LedgerEntry{}, false
	}
	entry, ok := f.ledger.Entries[serial]
	return entry, ok
}

// elect returns the record that holds the serial: the one that the ledger names,
// unless that was never delivered while another was. Then the ledger was lost or
// rolled back, and the other one holds it. Of revoked records only a ledger, or
// the lack of one, elects: a lost Active record is not replaced by a revoked one.
func (f *facts) elect() *apikey.Record {
	entry, known := f.entry()
	var named, best *apikey.Record
	for _, r := range f.records {
		if r.Serial != serial {
			continue
		}
		if known && r.Digest == entry.Digest {
			named = r
		}
		if r.State != apikey.Pending && !(known && r.State == apikey.Revoked) && preferred(r, best) {
			best = r
		}
	}
	if best == nil || named != nil && named.State != apikey.Pending {
		return named
	}
	return best
}

// preferred reports whether r holds a serial rather than other, by nothing but
// what is sealed: an unrevoked one, then the newer one.
func preferred(r, other *apikey.Record) bool {
	switch {
	case other == nil:
		return true
	case (r.State == apikey.Revoked) != (other.State == apikey.Revoked):
		return other.State == apikey.Revoked
	case !r.IssuedAt.Equal(other.IssuedAt):
		return r.IssuedAt.After(other.IssuedAt)
	}
	return bytes.Compare(r.Digest[:], other.Digest[:]) > 0
}

// environment is the one that the key belongs to: fixed when it is minted.
func (f *facts) environment(elected *apikey.Record) string {
	entry, _ := f.entry()
	switch {
	case elected != nil:
		return elected.Environment
	case f.key.Spec.Environment != "":
		return f.key.Spec.Environment
	case entry.Environment != "":
		return entry.Environment
	case f.policy != nil:
		return f.policy.DefaultEnvironment()
	}
	return ""
}

// repairedLedger names the elected record where the ledger does not.
func (f *facts) repairedLedger(elected *apikey.Record) *keysecret.Ledger {
	entry, known := f.entry()
	if f.unreadable != "" || elected == nil || elected.State == apikey.Pending || known && entry.Digest == elected.Digest {
		return nil
	}
	return f.ledgerNaming(elected)
}

// ledgerNaming is the ledger with the record as its serial's.
func (f *facts) ledgerNaming(r *apikey.Record) *keysecret.Ledger {
	l := &keysecret.Ledger{Owner: ownerOf(f.key), Entries: map[int64]keysecret.LedgerEntry{}}
	if f.ledger != nil {
		maps.Copy(l.Entries, f.ledger.Entries)
	}
	l.Entries[r.Serial] = keysecret.LedgerEntry{Digest: r.Digest, Environment: r.Environment}
	return l
}

// ownerOf names an APIKey in records.
func ownerOf(key *v1alpha1.APIKey) apikey.Ref {
	return apikey.Ref{Namespace: key.Namespace, Name: key.Name, UID: string(key.UID)}
}

// want is the form that a record ought to have. Revoked is for good.
func (f *facts) want(r, elected *apikey.Record, grant entitlement) *apikey.Record {
	want := *r
	if due := f.collectBy(r); r == elected && !due.IsZero() && !f.now.Before(due) {
		want.HandedOver = true
	}
	switch {
	case r.State == apikey.Revoked:
	case r != elected:
		if r.State != apikey.Pending && f.lost(r.Serial, elected) {
			want.State = apikey.Revoked
		}
	case f.key.Spec.State == v1alpha1.StateRevoked:
		want.State = apikey.Revoked
	case r.State != apikey.Pending:
		f.fill(&want, grant)
	}
	return &want
}

// lost reports whether a serial is another's: that of the elected record, which is
// delivered and named by the ledger.
func (f *facts) lost(serial int64, elected *apikey.Record) bool {
	entry, known := f.entry()
	return known && elected != nil && elected.Serial == serial && elected.State != apikey.Pending && entry.Digest == elected.Digest
}

// fill sets what the APIKey and its policy decide of a delivered record: never
// more than is both asked and granted.
func (f *facts) fill(r *apikey.Record, grant entitlement) {
	r.State = apikey.Active
	switch {
	case f.key.Spec.State == v1alpha1.StateSuspended:
		r.State = apikey.Suspended
	case !grant.inForce():
		r.State = apikey.NotGranted
	}
	r.Scopes, r.Plan = slices.Clone(grant.Scopes), grant.plan
	if f.policy != nil {
		r.Policy = f.policy.Ref()
	}
	r.ExpiresAt = nil
	if f.key.Spec.ExpiresAt != nil {
		at := f.key.Spec.ExpiresAt.UTC()
		r.ExpiresAt = &at
	}
	r.AllowedCIDRs = networks(f.key.Spec.AllowedCIDRs)
	r.Metadata = nil
	for name, value := range f.key.Spec.Metadata {
		if r.Metadata == nil {
			r.Metadata = map[string]string{}
		}
		r.Metadata[name] = string(value)
	}
}

// networks are what CIDRs name. One that can't be read stands for a network that no
// address is in: were it left out, a key with no other could be used from everywhere.
func networks(cidrs []v1alpha1.CIDR) []netip.Prefix {
	var out []netip.Prefix
	for _, cidr := range cidrs {
		network, err := netip.ParsePrefix(string(cidr))
		if err != nil {
			network = netip.Prefix{}
		}
		out = append(out, network)
	}
	return out
}

// collectBy is when a record's delivery Secret is to be deleted; zero: never, or
// it is gone.
func (f *facts) collectBy(r *apikey.Record) time.Time {
	if r.DeliveredAt == nil || r.HandedOver || f.key.Spec.Delivery.Retain == v1alpha1.RetainKeep {
		return time.Time{}
	}
	ttl := defaultTTL
	if f.key.Spec.Delivery.TTL != nil {
		ttl = f.key.Spec.Delivery.TTL.Duration
	}
	return r.DeliveredAt.Add(ttl)
}

// wake is the earliest moment at which time alone changes what ought to be.
func (f *facts) wake(d *desired) (earliest time.Time) {
	moments := []time.Time{}
	if f.key.Spec.ExpiresAt != nil {
		moments = append(moments, f.key.Spec.ExpiresAt.Time)
	}
	if f.failure != nil {
		moments = append(moments, f.failure.until)
	}
	if d.elected != nil {
		moments = append(moments, f.collectBy(d.elected))
	}
	for _, at := range moments {
		if at.After(f.now) && (earliest.IsZero() || at.Before(earliest)) {
			earliest = at
		}
	}
	return earliest
}

// sameRecord reports whether two records say the same, whatever their revisions.
func sameRecord(a, b *apikey.Record) bool {
	x, y := *a, *b
	x.Revision, y.Revision = 0, 0
	left, errLeft := json.Marshal(&x)
	right, errRight := json.Marshal(&y)
	return errLeft == nil && errRight == nil && bytes.Equal(left, right)
}
