package reconcile

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

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
	// doubtful names a Secret that may hold a token nobody knows the serial of; "": none.
	doubtful string
	// spoiled names the Secrets of older tokens that cannot be read.
	spoiled []string
	// taken: the key that the APIKey registers is, or was to its end, another's.
	taken bool
	// failure of the last attempt to deliver a token of this generation; nil: none.
	failure *failure
	// soon is how long before its end a key expires soon.
	soon time.Duration
	// now is the moment that everything is judged at.
	now time.Time
}

// desired is what ought to be, given the facts.
type desired struct {
	// elected is the record of the newest token that works, or would but for the
	// APIKey, in its desired form. Where there is none it is that of the newest serial;
	// nil: nothing is issued.
	elected *apikey.Record
	// records in their desired form, in the order of the facts.
	records []*apikey.Record
	// discard are the records of the facts that are kept no longer.
	discard []*apikey.Record
	// ledger to be written; nil: it is right as it is.
	ledger *keysecret.Ledger
	// mint: a token is to be minted, of this serial and in this environment.
	mint        bool
	serial      int64
	environment string
	// ready, delivered and rotatingSoon (nil: there is none) are the conditions, without
	// times.
	ready, delivered metav1.Condition
	rotatingSoon     *metav1.Condition
	// nextRotation is when the token is replaced by itself; zero: it is not.
	nextRotation time.Time
	// expiring is the ExpiringSoon condition, where there is one.
	expiring []metav1.Condition
	// grantedFrom is when the time that is left is as short as is granted; zero: it
	// is, or that is not what is missing.
	grantedFrom time.Time
	// wake is when the facts will judge differently by themselves; zero: never.
	wake time.Time
}

// decide is what ought to be. It is a pure function.
func decide(f *facts) *desired {
	d := &desired{}
	s := f.succession()
	d.environment = f.environment(s)
	grant := f.grant(d.environment)
	for _, r := range f.records {
		want := f.want(r, s, grant)
		if s.holders[r.Serial] == r && stands(want, d.elected, s) {
			d.elected = want
		}
		d.records = append(d.records, want)
	}
	d.ledger, d.discard = f.wantedLedger(s), f.discards(s)
	f.judge(d, s, grant)
	d.wake = f.wake(d, s)
	return d
}

// stands reports whether a holder, in its desired form, stands for the APIKey rather
// than another one (nil: none).
func stands(want, other *apikey.Record, s *succession) bool {
	switch {
	case !works(want):
		return other == nil && want.Serial == s.newest
	case other == nil || !works(other):
		return true
	}
	return want.Serial > other.Serial
}

// works reports whether a token was delivered and did not have to make way for
// another: nothing but the APIKey decides whether it lets callers in.
func works(r *apikey.Record) bool {
	return r != nil && r.State != apikey.Pending && r.State != apikey.Rotated
}

// entry is what the ledger says of a serial.
func (f *facts) entry(serial int64) (keysecret.LedgerEntry, bool) {
	if f.ledger == nil {
		return keysecret.LedgerEntry{}, false
	}
	entry, ok := f.ledger.Entries[serial]
	return entry, ok
}

// elect returns the record that holds a serial: the one that the ledger names,
// unless that was never delivered while another was. Then the ledger was lost or
// rolled back, and the other one holds it. Of revoked records only a ledger, or
// the lack of one, elects: a lost Active record is not replaced by a revoked one.
func (f *facts) elect(serial int64) *apikey.Record {
	entry, known := f.entry(serial)
	var named, best *apikey.Record
	for _, r := range f.records {
		if r.Serial != serial {
			continue
		}
		if known && r.Digest == entry.Digest {
			named = r
		}
		if r.State != apikey.Pending && !(f.told(serial) && r.State == apikey.Revoked) && preferred(r, best) {
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
func (f *facts) environment(s *succession) string {
	entry, _ := f.entry(s.newest)
	switch {
	case s.issued != nil:
		return s.issued.Environment
	case s.holders[s.newest] != nil:
		return s.holders[s.newest].Environment
	case f.key.Spec.Environment != "":
		return f.key.Spec.Environment
	case entry.Environment != "":
		return entry.Environment
	case f.policy != nil:
		return f.policy.DefaultEnvironment()
	}
	return ""
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

// want is the form that a record ought to have. Revoked and Rotated are for good.
func (f *facts) want(r *apikey.Record, s *succession, grant entitlement) *apikey.Record {
	want := *r
	holds := s.holders[r.Serial] == r
	switch {
	case r.State == apikey.Pending:
		if holds && f.key.Spec.State == v1alpha1.StateRevoked {
			want.State = apikey.Revoked
		}
		return &want
	case dead(r):
	case f.key.Spec.State == v1alpha1.StateRevoked || !holds && f.lost(r.Serial, s):
		want.State = apikey.Revoked
	case f.over(r, s):
		f.rotated(&want, s)
	case isRebuilt(r):
		return &want // what is stored there stays as it is until its end
	case holds:
		f.fill(&want, grant)
		if end := f.overlapEnd(r, s); end != nil {
			want.ExpiresAt = firstOf(*end, want.ExpiresAt)
		}
	}
	f.handOver(&want, r, s)
	return &want
}

// lost reports whether a serial is another's: that of its holder, which is delivered
// and named by the ledger.
func (f *facts) lost(serial int64, s *succession) bool {
	entry, known := f.entry(serial)
	holder := s.holders[serial]
	return known && holder != nil && holder.State != apikey.Pending && entry.Digest == holder.Digest
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

// wake is the earliest moment at which time alone changes what ought to be.
func (f *facts) wake(d *desired, s *succession) (earliest time.Time) {
	moments := []time.Time{f.underWay(s)}
	if f.key.Spec.ExpiresAt != nil {
		moments = append(moments, f.key.Spec.ExpiresAt.Time, f.key.Spec.ExpiresAt.Add(-f.soon), d.grantedFrom)
	}
	if f.failure != nil {
		moments = append(moments, f.failure.until)
	}
	if d.elected != nil {
		moments = append(moments, f.collectBy(d.elected))
	}
	if !d.nextRotation.IsZero() {
		moments = append(moments, f.notice(d.nextRotation), d.nextRotation)
	}
	for _, r := range f.records {
		if end := f.overlapEnd(r, s); end != nil && !dead(r) {
			moments = append(moments, *end)
		}
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
