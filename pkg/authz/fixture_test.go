package authz

import (
	"context"
	"errors"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
	"keygate.dev/keygate/pkg/ratelimit"
)

// now is the clock of the tests.
var now = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// token is the token of the fixture's key.
const token = "sk_0123456789abcdef0123456789abcdef0123456789abcdef"

// fixedKeys is a key store of fixed records.
type fixedKeys struct {
	peppers *apikey.Peppers
	// records maps digest → record.
	records map[apikey.Digest]*apikey.Record
	// failing are digests whose look-up fails.
	failing map[apikey.Digest]bool
	// lookups counts calls of Lookup.
	lookups int
	// onLookup, if set, is called by Lookup.
	onLookup func()
}

func (k *fixedKeys) Digests(dst []apikey.Digest, token []byte) []apikey.Digest {
	return k.peppers.Digests(dst, token)
}

func (k *fixedKeys) Lookup(_ context.Context, d apikey.Digest) (*apikey.Record, error) {
	k.lookups++
	if k.onLookup != nil {
		k.onLookup()
	}
	if k.failing[d] {
		return nil, errors.New("can't tell")
	}
	return k.records[d], nil
}

// digests of a token, the newest pepper's first.
func (k *fixedKeys) digests(token string) []apikey.Digest {
	return k.peppers.Digests(nil, []byte(token))
}

// add puts a record under a token's digest by its pepper-th pepper.
func (k *fixedKeys) add(token string, pepper int, r *apikey.Record) {
	r.Digest = k.digests(token)[pepper]
	k.records[r.Digest] = r
}

// newKeys has two peppers and no records.
func newKeys(tb testing.TB) *fixedKeys {
	tb.Helper()
	peppers, err := apikey.NewPeppers(map[int][]byte{
		1: []byte("the older pepper of 32 bytes....")[:32],
		2: []byte("the newer pepper of 32 bytes....")[:32],
	})
	if err != nil {
		tb.Fatal(err)
	}
	return &fixedKeys{peppers: peppers, records: map[apikey.Digest]*apikey.Record{}, failing: map[apikey.Digest]bool{}}
}

// activeRecord lets in to the fixture's policy with the scope read.
func activeRecord() *apikey.Record {
	return &apikey.Record{
		Pepper:      2,
		Owner:       apikey.Ref{Namespace: "acme", Name: "ci", UID: "uid-ci"},
		Serial:      1,
		Policy:      apikey.Ref{Namespace: "platform", Name: "stepsies", UID: "uid-stepsies"},
		Environment: "live",
		Scopes:      []string{"read"},
		State:       apikey.Active,
		Metadata:    map[string]string{"team": "a"},
	}
}

// stepsies is the fixture's policy.
func stepsies() *policy.Source {
	yes := true
	return &policy.Source{
		Namespace: "platform", Name: "stepsies", UID: "uid-stepsies",
		Created: now.Add(-time.Hour), ClaimsHosts: true,
		Spec: v1alpha1.APIKeyPolicySpec{
			Hosts:    []v1alpha1.Host{"api.stepsies.com"},
			BasePath: "/v1",
			Credentials: []v1alpha1.Credential{
				{Header: &v1alpha1.CredentialHeader{Name: "Authorization", Scheme: "Bearer"}},
				{Header: &v1alpha1.CredentialHeader{Name: "X-API-Key"}},
			},
			KeyFormat:    v1alpha1.KeyFormat{Encoding: v1alpha1.EncodingHex, Length: 48},
			Environments: []v1alpha1.Environment{{Name: "live", Prefix: "sk_"}},
			Scopes: []v1alpha1.Scope{
				{Name: "read"}, {Name: "write"},
				{Name: "admin", Includes: []v1alpha1.ScopeName{"read", "write"}},
			},
			Rules: []v1alpha1.Rule{
				{Methods: []v1alpha1.Method{"GET"}, Paths: []v1alpha1.PathPattern{"/stepsies", "/stepsies/{id}"}, Scopes: []v1alpha1.ScopeName{"read"}},
				{Methods: []v1alpha1.Method{"POST"}, Paths: []v1alpha1.PathPattern{"/stepsies"}, Scopes: []v1alpha1.ScopeName{"write"}},
				{Paths: []v1alpha1.PathPattern{"/me"}, AnyKey: true},
				{Methods: []v1alpha1.Method{"GET"}, Paths: []v1alpha1.PathPattern{"/status"}, Anonymous: true},
			},
			Upstream: v1alpha1.Upstream{Headers: &yes, Prefix: "x-apikey-"},
			Errors:   v1alpha1.Errors{ContentType: "application/problem+json"},
		},
	}
}

// compile compiles a source or fails the test.
func compile(tb testing.TB, src *policy.Source) *policy.Policy {
	tb.Helper()
	p, err := policy.Compile(src)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// fixture is a Decider over the fixture's policy and key, and a policy that is
// known but can't be used.
type fixture struct {
	*Decider
	keys    *fixedKeys
	limiter *fixedLimiter
	record  *apikey.Record
	policy  *policy.Policy
	synced  atomic.Bool
}

func newFixture(tb testing.TB) *fixture {
	tb.Helper()
	return newFixtureWith(tb, func(*v1alpha1.APIKeyPolicySpec) {})
}

// newFixtureWith is a fixture with another spec of its policy.
func newFixtureWith(tb testing.TB, change func(*v1alpha1.APIKeyPolicySpec)) *fixture {
	tb.Helper()
	f := &fixture{keys: newKeys(tb), record: activeRecord(), limiter: &fixedLimiter{}}
	f.synced.Store(true)
	f.keys.add(token, 0, f.record)
	src := stepsies()
	change(&src.Spec)
	f.policy = compile(tb, src)
	broken := &policy.Source{Namespace: "platform", Name: "broken", UID: "uid-broken", Created: now, ClaimsHosts: true,
		Spec: v1alpha1.APIKeyPolicySpec{Hosts: []v1alpha1.Host{"broken.stepsies.com"}}}
	table := policy.NewTable([]policy.Entry{policy.NewEntry(src, f.policy), policy.NewEntry(broken, nil)})
	f.Decider = &Decider{
		Keys:     f.keys,
		Limiter:  f.limiter,
		Policies: func() *policy.Table { return table },
		Synced:   f.synced.Load,
		Now:      func() time.Time { return now },
	}
	return f
}

// fixedLimiter answers what it is set to, and remembers what it was asked.
type fixedLimiter struct {
	result ratelimit.Result
	err    error
	// onTake, if set, is called by Take.
	onTake func()
	asked  []asked
}

// asked is one call of Take.
type asked struct {
	Key    string
	Limits []ratelimit.Limit
	Cost   int64
}

func (l *fixedLimiter) Take(_ context.Context, key string, limits []ratelimit.Limit, cost int64) (ratelimit.Result, error) {
	l.asked = append(l.asked, asked{key, limits, cost})
	if l.onTake != nil {
		l.onTake()
	}
	return l.result, l.err
}

// witnessed remembers what a Witness is told.
type witnessed struct {
	used    []*apikey.Record
	refused []string
	from    []netip.Addr
	at      []time.Time
}

func (w *witnessed) Used(r *apikey.Record, at time.Time) {
	w.used, w.at = append(w.used, r), append(w.at, at)
}

func (w *witnessed) Refused(r *apikey.Record, why string, from netip.Addr, at time.Time) {
	w.refused, w.from, w.at = append(w.refused, r.Owner.Name+" "+why), append(w.from, from), append(w.at, at)
}

// request is one that the fixture allows, with more fields.
func request(more ...Field) *Request {
	return &Request{
		Method: "GET", Path: "/v1/stepsies?page=2", Host: "api.stepsies.com",
		Header: append([]Field{
			{":authority", "api.stepsies.com"}, {":method", "GET"}, {":path", "/v1/stepsies?page=2"},
			{"authorization", "Bearer " + token}, {"x-request-id", "req-1"},
		}, more...),
	}
}

// bare is a request without a credential, with more fields.
func bare(method, target string, more ...Field) *Request {
	return &Request{Method: method, Path: target, Host: "api.stepsies.com", Header: more}
}
