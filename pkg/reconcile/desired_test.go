package reconcile

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

// serial of the one token of most tests.
const serial int64 = 1

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// aKey is an APIKey of the namespace "tenant" that asks for read.
func aKey(change ...func(*v1alpha1.APIKeySpec)) *v1alpha1.APIKey {
	key := &v1alpha1.APIKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tenant", Name: "key", UID: "key-uid"},
		Spec: v1alpha1.APIKeySpec{
			PolicyRef: v1alpha1.PolicyReference{Namespace: "platform", Name: "api"},
			Scopes:    []v1alpha1.ScopeName{"read"},
			State:     v1alpha1.StateActive,
			Delivery:  v1alpha1.Delivery{Retain: v1alpha1.RetainOnce},
		},
	}
	for _, f := range change {
		f(&key.Spec)
	}
	return key
}

// aPolicy grants these scopes, of read, write and admin, in the environment live.
func aPolicy(t *testing.T, scopes ...v1alpha1.ScopeName) *policy.Policy {
	t.Helper()
	compiled, err := policy.Compile(&policy.Source{
		Namespace: "platform", Name: "api", UID: "policy-uid",
		Spec: v1alpha1.APIKeyPolicySpec{
			BasePath:     "/",
			Credentials:  []v1alpha1.Credential{{Header: &v1alpha1.CredentialHeader{Name: "Authorization", Scheme: "Bearer"}}},
			KeyFormat:    v1alpha1.KeyFormat{Encoding: v1alpha1.EncodingHex, Length: 48},
			Environments: []v1alpha1.Environment{{Name: "live", Prefix: "sk_"}, {Name: "test", Prefix: "tk_"}},
			Scopes:       []v1alpha1.Scope{{Name: "read"}, {Name: "write"}, {Name: "admin"}},
			Grants:       []v1alpha1.Grant{{Namespaces: v1alpha1.GrantNamespaces{From: v1alpha1.NamespacesAll}, Scopes: scopes, Environments: []v1alpha1.EnvironmentName{"live"}}},
			Rules:        []v1alpha1.Rule{{Paths: []v1alpha1.PathPattern{"/{rest...}"}, AnyKey: true}},
		},
	})
	must(t, err)
	return compiled
}

// aRecord is the delivered record of aKey, as it ought to be under aPolicy("read").
func aRecord(id byte, change ...func(*apikey.Record)) *apikey.Record {
	at := noon.Add(-time.Hour)
	r := &apikey.Record{
		Digest: apikey.Digest{id}, Pepper: 1, Owner: apikey.Ref{Namespace: "tenant", Name: "key", UID: "key-uid"}, Serial: serial,
		Policy: apikey.Ref{Namespace: "platform", Name: "api", UID: "policy-uid"}, Environment: "live", Scopes: []string{"read"}, State: apikey.Active,
		IssuedAt: at, DeliveredAt: &at, DeliveryUID: "secret-uid", Revision: 2,
	}
	for _, f := range change {
		f(r)
	}
	return r
}

func pending(r *apikey.Record) {
	r.State, r.DeliveredAt, r.DeliveryUID, r.Scopes = apikey.Pending, nil, "", nil
}

func revoked(r *apikey.Record) { r.State = apikey.Revoked }

// made asks for a key that was made elsewhere, whose record is registered.
func made(s *v1alpha1.APIKeySpec) { s.SHA256 = strings.Repeat("0a", 32) }

func registered(r *apikey.Record) { r.DeliveredAt, r.DeliveryUID = nil, "" }

// naming is a ledger that names the record with this id.
func naming(id byte) *keysecret.Ledger {
	return &keysecret.Ledger{Owner: ownerOf(aKey()), Entries: map[int64]keysecret.LedgerEntry{serial: {Digest: apikey.Digest{id}, Environment: "live"}}}
}

func asks(scopes ...v1alpha1.ScopeName) func(*v1alpha1.APIKeySpec) {
	return func(s *v1alpha1.APIKeySpec) { s.Scopes = scopes }
}

func state(state v1alpha1.KeyState) func(*v1alpha1.APIKeySpec) {
	return func(s *v1alpha1.APIKeySpec) { s.State = state }
}

func expires(at time.Time) func(*v1alpha1.APIKeySpec) {
	return func(s *v1alpha1.APIKeySpec) { s.ExpiresAt = &metav1.Time{Time: at} }
}

func TestDecide(t *testing.T) {
	read, all := aPolicy(t, "read"), aPolicy(t, "read", "write", "admin")
	type want struct {
		mint             bool
		elected          byte // its id; 0: none
		states           []apikey.State
		scopes           []string // of the elected record
		ledger           byte     // the id that a ledger to be written names; 0: none is
		ready, delivered string
		wake             time.Duration // after noon; 0: never
	}
	day := 24 * time.Hour
	for name, test := range map[string]struct {
		facts facts
		want  want
	}{
		"nothing yet": {
			facts{key: aKey(), policy: read, declared: true},
			want{mint: true, ready: "Pending", delivered: "Pending"},
		},
		"issued": {
			facts{key: aKey(), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Active"}, scopes: []string{"read"}, ready: "Active", delivered: "Delivered", wake: day - time.Hour},
		},
		"a scope more is asked and granted": {
			facts{key: aKey(asks("write", "read")), policy: all, ledger: naming(1), records: []*apikey.Record{aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Active"}, scopes: []string{"read", "write"}, ready: "Active", delivered: "Delivered", wake: day - time.Hour},
		},
		"a scope more is asked but not granted": {
			facts{key: aKey(asks("read", "admin")), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Active"}, scopes: []string{"read"}, ready: "ScopesNotGranted", delivered: "Delivered", wake: day - time.Hour},
		},
		"not all is granted at first": {
			facts{key: aKey(asks("read", "admin")), policy: read},
			want{ready: "ScopesNotGranted", delivered: "NothingIssued"},
		},
		"the environment is not granted": {
			facts{key: aKey(func(s *v1alpha1.APIKeySpec) { s.Environment = "test" }), policy: all},
			want{ready: "EnvironmentNotGranted", delivered: "NothingIssued"},
		},
		"the environment is no longer granted": {
			facts{key: aKey(), policy: all, ledger: naming(1), records: []*apikey.Record{aRecord(1, func(r *apikey.Record) { r.Environment = "test" })}},
			want{elected: 1, states: []apikey.State{"NotGranted"}, ready: "EnvironmentNotGranted", delivered: "Delivered", wake: day - time.Hour},
		},
		"there is no policy": {
			facts{key: aKey(), ledger: naming(1), records: []*apikey.Record{aRecord(1)}},
			want{elected: 1, states: []apikey.State{"NotGranted"}, ready: "PolicyNotFound", delivered: "Delivered", wake: day - time.Hour},
		},
		"another namespace's policy is not accepted": {
			facts{key: aKey(), declared: true},
			want{ready: "PolicyNotFound", delivered: "NothingIssued"},
		},
		"one's own policy is not accepted": {
			facts{key: aKey(func(s *v1alpha1.APIKeySpec) { s.PolicyRef.Namespace = "" }), declared: true},
			want{ready: "PolicyNotAccepted", delivered: "NothingIssued"},
		},
		"suspended": {
			facts{key: aKey(state(v1alpha1.StateSuspended)), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Suspended"}, scopes: []string{"read"}, ready: "Suspended", delivered: "Delivered", wake: day - time.Hour},
		},
		"resumed": {
			facts{key: aKey(), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(1, func(r *apikey.Record) { r.State = apikey.Suspended })}},
			want{elected: 1, states: []apikey.State{"Active"}, scopes: []string{"read"}, ready: "Active", delivered: "Delivered", wake: day - time.Hour},
		},
		"revoked": {
			facts{key: aKey(state(v1alpha1.StateRevoked)), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Revoked"}, scopes: []string{"read"}, ready: "Revoked", delivered: "Delivered", wake: day - time.Hour},
		},
		"revoked is for good": {
			facts{key: aKey(), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(1, revoked)}},
			want{elected: 1, states: []apikey.State{"Revoked"}, scopes: []string{"read"}, ready: "Revoked", delivered: "Delivered", wake: day - time.Hour},
		},
		"revoked before it was issued": {
			facts{key: aKey(state(v1alpha1.StateRevoked)), policy: read},
			want{ready: "Revoked", delivered: "NothingIssued"},
		},
		"revoked while it was issued": {
			facts{key: aKey(state(v1alpha1.StateRevoked)), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(1, pending)}},
			want{elected: 1, states: []apikey.State{"Revoked"}, ready: "Revoked", delivered: "NothingIssued"},
		},
		"expires in a minute": {
			facts{key: aKey(expires(noon.Add(time.Minute))), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Active"}, scopes: []string{"read"}, ready: "Active", delivered: "Delivered", wake: time.Minute},
		},
		"expires now": {
			facts{key: aKey(expires(noon)), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Active"}, scopes: []string{"read"}, ready: "Expired", delivered: "Delivered", wake: day - time.Hour},
		},
		"expired before it was issued": {
			facts{key: aKey(expires(noon)), policy: read},
			want{ready: "Expired", delivered: "NothingIssued"},
		},
		"expires in the year 1": {
			facts{key: aKey(expires(time.Time{})), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Active"}, scopes: []string{"read"}, ready: "Expired", delivered: "Delivered", wake: day - time.Hour},
		},
		"nobody collected it": {
			facts{key: aKey(), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(1)}, now: noon.Add(23 * time.Hour)},
			want{elected: 1, states: []apikey.State{"Active"}, scopes: []string{"read"}, ready: "Active", delivered: "HandedOver"},
		},
		"kept": {
			facts{key: aKey(func(s *v1alpha1.APIKeySpec) { s.Delivery.Retain = v1alpha1.RetainKeep }), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(1)}, now: noon.Add(1000 * time.Hour)},
			want{elected: 1, states: []apikey.State{"Active"}, scopes: []string{"read"}, ready: "Active", delivered: "Delivered"},
		},
		"pending": {
			facts{key: aKey(), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(1, pending)}},
			want{mint: true, elected: 1, states: []apikey.State{"Pending"}, ready: "Pending", delivered: "Pending"},
		},
		"pending, and the policy gone": {
			facts{key: aKey(), ledger: naming(1), records: []*apikey.Record{aRecord(1, pending)}},
			want{elected: 1, states: []apikey.State{"Pending"}, ready: "PolicyNotFound", delivered: "NothingIssued"},
		},
		"the named record is lost": {
			facts{key: aKey(), policy: read, ledger: naming(1)},
			want{mint: true, ready: "Pending", delivered: "Pending"},
		},
		"the ledger is lost": {
			facts{key: aKey(), policy: read, records: []*apikey.Record{aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Active"}, scopes: []string{"read"}, ledger: 1, ready: "Active", delivered: "Delivered", wake: day - time.Hour},
		},
		"the ledger is lost, and the key revoked": {
			facts{key: aKey(), policy: read, records: []*apikey.Record{aRecord(1, revoked)}},
			want{elected: 1, states: []apikey.State{"Revoked"}, scopes: []string{"read"}, ledger: 1, ready: "Revoked", delivered: "Delivered", wake: day - time.Hour},
		},
		"the ledger is lost before the key was delivered": {
			facts{key: aKey(), policy: read, records: []*apikey.Record{aRecord(1, pending)}},
			want{mint: true, states: []apikey.State{"Pending"}, ready: "Pending", delivered: "Pending"},
		},
		"the ledger is lost, one of two is revoked": {
			facts{key: aKey(), policy: read, records: []*apikey.Record{aRecord(2, revoked), aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Revoked", "Active"}, scopes: []string{"read"}, ledger: 1, ready: "Active", delivered: "Delivered", wake: day - time.Hour},
		},
		"a second delivered one": {
			facts{key: aKey(), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(2), aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Revoked", "Active"}, scopes: []string{"read"}, ready: "Active", delivered: "Delivered", wake: day - time.Hour},
		},
		"a second pending one": {
			facts{key: aKey(), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(2, pending), aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Pending", "Active"}, scopes: []string{"read"}, ready: "Active", delivered: "Delivered", wake: day - time.Hour},
		},
		"the ledger names a pending one beside a delivered one": {
			facts{key: aKey(), policy: read, ledger: naming(2), records: []*apikey.Record{aRecord(2, pending), aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Pending", "Active"}, scopes: []string{"read"}, ledger: 1, ready: "Active", delivered: "Delivered", wake: day - time.Hour},
		},
		"the named one is lost, a revoked one is there": {
			facts{key: aKey(), policy: read, ledger: naming(1), records: []*apikey.Record{aRecord(2, revoked)}},
			want{mint: true, states: []apikey.State{"Revoked"}, ready: "Pending", delivered: "Pending"},
		},
		"a Secret is unreadable": {
			facts{key: aKey(), policy: read, unreadable: "key-x"},
			want{ready: "RecordInvalid", delivered: "NothingIssued"},
		},
		"the ledger is another version's": {
			facts{key: aKey(), policy: read, unreadable: "ledger-x", records: []*apikey.Record{aRecord(1)}},
			want{elected: 1, states: []apikey.State{"Active"}, scopes: []string{"read"}, ready: "RecordInvalid", delivered: "Delivered", wake: day - time.Hour},
		},
		"nothing is registered yet": {
			facts{key: aKey(made), policy: read},
			want{mint: true, ready: "Pending", delivered: "NothingIssued"},
		},
		"registered": {
			facts{key: aKey(made), policy: read, records: []*apikey.Record{aRecord(1, registered)}},
			want{elected: 1, states: []apikey.State{"Active"}, scopes: []string{"read"}, ledger: 1, ready: "Active", delivered: "Registered"},
		},
		"registered, but not granted any more": {
			facts{key: aKey(made), ledger: naming(1), records: []*apikey.Record{aRecord(1, registered)}},
			want{elected: 1, states: []apikey.State{"NotGranted"}, ready: "PolicyNotFound", delivered: "Registered"},
		},
		"another has the key": {
			facts{key: aKey(made), policy: read, taken: true},
			want{ready: "DuplicateKey", delivered: "NothingIssued"},
		},
		"another has the key, which one who is granted nothing is not told": {
			facts{key: aKey(made), taken: true},
			want{ready: "PolicyNotFound", delivered: "NothingIssued"},
		},
		"another has the key, and it is revoked": {
			facts{key: aKey(made, state(v1alpha1.StateRevoked)), policy: read, taken: true},
			want{ready: "Revoked", delivered: "NothingIssued"},
		},
		"another took what the ledger names": {
			facts{key: aKey(made), policy: read, taken: true, ledger: naming(1)},
			want{ready: "DuplicateKey", delivered: "NothingIssued"},
		},
		"delivery failed": {
			facts{key: aKey(), policy: read, failure: &failure{reason: "DeliveryConflict", until: noon.Add(time.Second)}},
			want{ready: "DeliveryConflict", delivered: "DeliveryConflict", wake: time.Second},
		},
		"delivery failed, and the wait is over": {
			facts{key: aKey(), policy: read, failure: &failure{reason: "DeliveryConflict", until: noon}},
			want{mint: true, ready: "DeliveryConflict", delivered: "DeliveryConflict"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := test.facts
			if f.now.IsZero() {
				f.now = noon
			}
			d := decide(&f)
			got := want{mint: d.mint, ready: d.ready.Reason, delivered: d.delivered.Reason}
			for _, r := range d.records {
				got.states = append(got.states, r.State)
			}
			if d.elected != nil {
				got.elected, got.scopes = d.elected.Digest[0], d.elected.Scopes
			}
			if d.ledger != nil {
				got.ledger = d.ledger.Entries[serial].Digest[0]
			}
			if !d.wake.IsZero() {
				got.wake = d.wake.Sub(noon)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if f.key.Spec.ExpiresAt != nil && d.elected != nil && f.key.Spec.State == v1alpha1.StateActive && !d.elected.ExpiresAt.Equal(f.key.Spec.ExpiresAt.Time) {
				t.Errorf("the record expires at %v", d.elected.ExpiresAt)
			}
			if working := d.ready.Reason == v1alpha1.ReasonActive; working != (d.ready.Status == metav1.ConditionTrue) {
				t.Errorf("Ready is %s/%s", d.ready.Status, d.ready.Reason)
			}
			if d.ready.Message == "" && f.failure == nil {
				t.Error("Ready says nothing")
			}
		})
	}
}

// What ought to be is stable: judged again, nothing is left to write.
func TestDecideIsIdempotent(t *testing.T) {
	f := facts{key: aKey(asks("read", "admin"), expires(noon.Add(time.Hour))), policy: aPolicy(t, "read"), records: []*apikey.Record{aRecord(2), aRecord(1)}, now: noon.Add(1000 * time.Hour)}
	for range 3 {
		d := decide(&f)
		if d.ledger != nil {
			f.ledger = d.ledger
		}
		f.records = d.records
	}
	d := decide(&f)
	for i, r := range d.records {
		if !sameRecord(r, f.records[i]) {
			t.Errorf("record %d is never as it ought to be: %+v", i, r)
		}
	}
	if d.ledger != nil {
		t.Error("the ledger is never as it ought to be")
	}
}
