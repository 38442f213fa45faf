package authz

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
)

// outcome is what a table of decisions states.
type outcome struct {
	Allow  bool
	Reason policy.Reason
	Detail Detail
}

func (f *fixture) outcome(r *Request) outcome {
	v := f.Decide(context.Background(), r)
	return outcome{v.Allow, v.Reason, v.Detail}
}

var (
	allowed      = outcome{true, Allowed, ""}
	anonymous    = outcome{true, Anonymous, ""}
	missing      = outcome{false, policy.MissingKey, ""}
	badScheme    = outcome{false, policy.MalformedKey, DetailScheme}
	badToken     = outcome{false, policy.MalformedKey, DetailToken}
	duplicate    = outcome{false, policy.MalformedKey, DetailDuplicate}
	noRule       = outcome{false, policy.NoRule, ""}
	noPolicy     = outcome{false, policy.NoPolicy, ""}
	scopeLacking = outcome{false, policy.InsufficientScope, ""}
)

func invalid(d Detail) outcome     { return outcome{false, policy.InvalidKey, d} }
func malformed(d Detail) outcome   { return outcome{false, policy.MalformedRequest, d} }
func unavailable(d Detail) outcome { return outcome{false, policy.Unavailable, d} }

func TestDecideAllows(t *testing.T) {
	f := newFixture(t)
	v := f.Decide(context.Background(), request())
	want := Verdict{
		Allow: true, Reason: Allowed, Policy: f.policy, Rule: f.policy.Match("GET", "/v1/stepsies"),
		Record: f.record, KeyID: f.record.Digest.ID(), RequestID: "req-1",
	}
	if !reflect.DeepEqual(v, want) {
		t.Errorf("got %+v, want %+v", v, want)
	}
}

func TestDecideCredential(t *testing.T) {
	auth := func(values ...string) *Request {
		r := bare("GET", "/v1/stepsies")
		for _, v := range values {
			r.Header = append(r.Header, Field{"authorization", v})
		}
		return r
	}
	other := func(fields ...Field) *Request { return bare("GET", "/v1/stepsies", fields...) }
	for name, tc := range map[string]struct {
		request *Request
		want    outcome
	}{
		"none":                         {other(), missing},
		"another header":               {other(Field{"x-other", token}), missing},
		"scheme in lower case":         {auth("bearer " + token), allowed},
		"scheme in upper case":         {auth("BEARER " + token), allowed},
		"name in mixed case":           {other(Field{"Authorization", "Bearer " + token}), allowed},
		"header without a scheme":      {other(Field{"x-api-key", token}), allowed},
		"its name in upper case":       {other(Field{"X-API-KEY", token}), allowed},
		"name with an underscore":      {other(Field{"x_api_key", token}), missing},
		"scheme where none belongs":    {other(Field{"x-api-key", "Bearer " + token}), badToken},
		"empty value":                  {auth(""), badScheme},
		"empty value without scheme":   {other(Field{"x-api-key", ""}), badToken},
		"scheme only":                  {auth("Bearer"), badScheme},
		"scheme and a space":           {auth("Bearer "), badToken},
		"no scheme":                    {auth(token), badScheme},
		"basic":                        {auth("Basic dXNlcjpwYXNz"), badScheme},
		"a scheme as long":             {auth("Bearex " + token), badScheme},
		"a longer scheme":              {auth("Bearers " + token), badScheme},
		"two spaces":                   {auth("Bearer  " + token), badToken},
		"a tab":                        {auth("Bearer\t" + token), badScheme},
		"a tab behind the space":       {auth("Bearer \t" + token), badToken},
		"leading space":                {auth(" Bearer " + token), badScheme},
		"trailing space":               {auth("Bearer " + token + " "), badToken},
		"trailing junk":                {auth("Bearer " + token + " x"), badToken},
		"trailing parameter":           {auth("Bearer " + token + ";x=1"), badToken},
		"quotes":                       {auth(`Bearer "` + token + `"`), badToken},
		"NUL":                          {auth("Bearer " + token + "\x00"), badToken},
		"not UTF-8":                    {auth("Bearer " + token + "\xff"), badToken},
		"longest unknown token":        {auth("Bearer " + strings.Repeat("a", 512)), invalid(DetailUnknown)},
		"too long a token":             {auth("Bearer " + strings.Repeat("a", 513)), badToken},
		"the same twice":               {auth("Bearer "+token, "Bearer "+token), duplicate},
		"a good and a bad":             {auth("Bearer "+token, "Bearer x"), duplicate},
		"a bad and a good":             {auth("Bearer x", "Bearer "+token), duplicate},
		"a good and an empty":          {auth("Bearer "+token, ""), duplicate},
		"twice in different cases":     {other(Field{"authorization", "Bearer " + token}, Field{"AUTHORIZATION", "Bearer " + token}), duplicate},
		"two places":                   {other(Field{"authorization", "Bearer " + token}, Field{"x-api-key", token}), duplicate},
		"two places, one other scheme": {other(Field{"authorization", "Basic eA=="}, Field{"x-api-key", token}), duplicate},
		"joined with a comma":          {auth("Bearer " + token + ",Bearer " + token), badToken},
		"joined with comma and space":  {auth("Bearer " + token + ", Bearer " + token), badToken},
		"joined without scheme":        {other(Field{"x-api-key", token + "," + token}), badToken},
		"joined with nothing":          {other(Field{"x-api-key", token + ","}), badToken},
		"one character off":            {auth("Bearer " + token[:len(token)-1] + "0"), invalid(DetailUnknown)},
		"one character less":           {auth("Bearer " + token[:len(token)-1]), invalid(DetailUnknown)},
		"one character more":           {auth("Bearer " + token + "0"), invalid(DetailUnknown)},
		"in upper case":                {auth("Bearer " + strings.ToUpper(token)), invalid(DetailUnknown)},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, newFixture(t).outcome(tc.request)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMalformedKeyIsNotLookedUp: what is no token costs no digest and no look-up.
func TestMalformedKeyIsNotLookedUp(t *testing.T) {
	f := newFixture(t)
	f.Keys = nil
	r := bare("GET", "/v1/stepsies", Field{"authorization", "Bearer " + token + "!"})
	if diff := cmp.Diff(badToken, f.outcome(r)); diff != "" {
		t.Error(diff)
	}
}

func TestDecideRecord(t *testing.T) {
	at := func(d time.Duration) *time.Time { at := now.Add(d); return &at }
	for name, tc := range map[string]struct {
		spoil func(*apikey.Record)
		want  outcome
	}{
		"active":                   {func(*apikey.Record) {}, allowed},
		"pending":                  {func(r *apikey.Record) { r.State = apikey.Pending }, invalid(DetailPending)},
		"suspended":                {func(r *apikey.Record) { r.State = apikey.Suspended }, invalid(DetailSuspended)},
		"revoked":                  {func(r *apikey.Record) { r.State = apikey.Revoked }, invalid(DetailRevoked)},
		"deleted":                  {func(r *apikey.Record) { r.State = apikey.Deleted }, invalid(DetailRevoked)},
		"rotated":                  {func(r *apikey.Record) { r.State = apikey.Rotated }, invalid(DetailRotated)},
		"not granted":              {func(r *apikey.Record) { r.State = apikey.NotGranted }, invalid(DetailNotGranted)},
		"no state":                 {func(r *apikey.Record) { r.State = "" }, invalid(DetailState)},
		"unknown state":            {func(r *apikey.Record) { r.State = "active" }, invalid(DetailState)},
		"tombstone that is active": {func(r *apikey.Record) { r.RetiredAt = at(-time.Hour) }, invalid(DetailRevoked)},
		"expires in a second":      {func(r *apikey.Record) { r.ExpiresAt = at(time.Second) }, allowed},
		"expires now":              {func(r *apikey.Record) { r.ExpiresAt = at(0) }, invalid(DetailExpired)},
		"expired a second ago":     {func(r *apikey.Record) { r.ExpiresAt = at(-time.Second) }, invalid(DetailExpired)},
		"expired at the zero time": {func(r *apikey.Record) { r.ExpiresAt = &time.Time{} }, invalid(DetailExpired)},
		"revoked and expired": {func(r *apikey.Record) { r.State, r.ExpiresAt = apikey.Revoked, at(-1) },
			invalid(DetailRevoked)},
		"another policy":         {func(r *apikey.Record) { r.Policy.Name = "tripsies" }, invalid(DetailWrongPolicy)},
		"of another namespace":   {func(r *apikey.Record) { r.Policy.Namespace = "acme" }, invalid(DetailWrongPolicy)},
		"of another uid":         {func(r *apikey.Record) { r.Policy.UID = "uid-older" }, invalid(DetailWrongPolicy)},
		"of no uid":              {func(r *apikey.Record) { r.Policy.UID = "" }, invalid(DetailWrongPolicy)},
		"wrong policy, revoked":  {func(r *apikey.Record) { r.Policy.Name, r.State = "tripsies", apikey.Revoked }, invalid(DetailWrongPolicy)},
		"no scope":               {func(r *apikey.Record) { r.Scopes = nil }, scopeLacking},
		"another scope":          {func(r *apikey.Record) { r.Scopes = []string{"write"} }, scopeLacking},
		"undeclared scope":       {func(r *apikey.Record) { r.Scopes = []string{"reader"} }, scopeLacking},
		"an including scope":     {func(r *apikey.Record) { r.Scopes = []string{"admin"} }, allowed},
		"revoked without scopes": {func(r *apikey.Record) { r.State, r.Scopes = apikey.Revoked, nil }, invalid(DetailRevoked)},
		"expired without scopes": {func(r *apikey.Record) { r.ExpiresAt, r.Scopes = at(-1), nil }, invalid(DetailExpired)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			tc.spoil(f.record)
			if diff := cmp.Diff(tc.want, f.outcome(request())); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecideRule(t *testing.T) {
	key := Field{"authorization", "Bearer " + token}
	for name, tc := range map[string]struct {
		request *Request
		want    outcome
	}{
		"scope read":                    {bare("GET", "/v1/stepsies/7", key), allowed},
		"scope write":                   {bare("POST", "/v1/stepsies", key), scopeLacking},
		"any key":                       {bare("DELETE", "/v1/me", key), allowed},
		"any key without one":           {bare("DELETE", "/v1/me"), missing},
		"any key, unknown":              {bare("GET", "/v1/me", Field{"x-api-key", "sk_other"}), invalid(DetailUnknown)},
		"no such path":                  {bare("GET", "/v1/other", key), noRule},
		"no such path, no key":          {bare("GET", "/v1/other"), noRule},
		"no such method":                {bare("PUT", "/v1/stepsies", key), noRule},
		"HEAD is not GET":               {bare("HEAD", "/v1/stepsies", key), noRule},
		"lower case is another method":  {bare("get", "/v1/stepsies", key), noRule},
		"outside the base path":         {bare("GET", "/stepsies", key), noRule},
		"query is no part of the path":  {bare("GET", "/v1/stepsies?a=/../b//c", key), allowed},
		"a second question mark":        {bare("GET", "/v1/stepsies?a=b?c", key), allowed},
		"empty query":                   {bare("GET", "/v1/stepsies?", key), allowed},
		"anonymous":                     {bare("GET", "/v1/status"), anonymous},
		"anonymous with a key":          {bare("GET", "/v1/status", key), anonymous},
		"anonymous with an unknown key": {bare("GET", "/v1/status", Field{"x-api-key", "sk_other"}), anonymous},
		"anonymous with two keys":       {bare("GET", "/v1/status", key, key), anonymous},
		"anonymous, another method":     {bare("POST", "/v1/status"), noRule},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, newFixture(t).outcome(tc.request)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnonymousLooksAtNoKey(t *testing.T) {
	f := newFixture(t)
	v := f.Decide(context.Background(), bare("GET", "/v1/status", Field{"authorization", "Bearer " + token}))
	if !v.Allow || v.Record != nil || v.KeyID != "" || f.keys.lookups != 0 {
		t.Errorf("got %+v after %d look-ups", v, f.keys.lookups)
	}
}

func TestDecidePolicy(t *testing.T) {
	for name, tc := range map[string]struct {
		named, fixed, host string
		want               outcome
	}{
		"by host":                       {"", "", "api.stepsies.com", allowed},
		"by host with port and case":    {"", "", "API.stepsies.com.:8443", allowed},
		"unknown host":                  {"", "", "api.tripsies.com", noPolicy},
		"empty host":                    {"", "", "", noPolicy},
		"unusable by host":              {"", "", "broken.stepsies.com", unavailable(DetailPolicy)},
		"by name, whatever host":        {"platform/stepsies", "", "x.test", allowed},
		"name beats host":               {"platform/other", "", "api.stepsies.com", noPolicy},
		"name without namespace":        {"stepsies", "", "api.stepsies.com", noPolicy},
		"unusable by name":              {"platform/broken", "", "api.stepsies.com", unavailable(DetailPolicy)},
		"name beats the fixed one":      {"platform/stepsies", "platform/other", "x.test", allowed},
		"wrong name beats the fixed":    {"platform/other", "platform/stepsies", "x.test", noPolicy},
		"fixed":                         {"", "platform/stepsies", "x.test", allowed},
		"fixed beats host":              {"", "platform/other", "api.stepsies.com", noPolicy},
		"unusable fixed one":            {"", "platform/broken", "api.stepsies.com", unavailable(DetailPolicy)},
		"a host that is the name":       {"", "", "platform/stepsies", noPolicy},
		"a name that is a claimed host": {"api.stepsies.com", "", "api.stepsies.com", noPolicy},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.FixedPolicy = tc.fixed
			r := bare("GET", "/v1/stepsies", Field{"authorization", "Bearer " + token})
			r.Policy, r.Host = tc.named, tc.host
			if diff := cmp.Diff(tc.want, f.outcome(r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecideFailures(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for name, tc := range map[string]struct {
		ctx   context.Context
		spoil func(*fixture)
		want  outcome
	}{
		"not synced":          {nil, func(f *fixture) { f.synced.Store(false) }, unavailable(DetailNotSynced)},
		"asker has gone":      {gone, func(*fixture) {}, unavailable(DetailCancelled)},
		"no pepper":           {nil, func(f *fixture) { f.keys.peppers = &apikey.Peppers{} }, unavailable(DetailPepper)},
		"look-up fails":       {nil, func(f *fixture) { f.fail(0) }, unavailable(DetailStore)},
		"older one fails":     {nil, func(f *fixture) { f.fail(1) }, allowed},
		"neither one can say": {nil, func(f *fixture) { f.fail(0); f.fail(1) }, unavailable(DetailStore)},
		"newer one fails, older has it": {nil, func(f *fixture) { f.move(); f.fail(0) },
			allowed},
		"under the older pepper": {nil, func(f *fixture) { f.move() }, allowed},
		"unknown, older one fails": {nil, func(f *fixture) { clear(f.keys.records); f.fail(1) },
			unavailable(DetailStore)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			tc.spoil(f)
			ctx := tc.ctx
			if ctx == nil {
				ctx = context.Background()
			}
			v := f.Decide(ctx, request())
			if diff := cmp.Diff(tc.want, outcome{v.Allow, v.Reason, v.Detail}); diff != "" {
				t.Error(diff)
			}
			if v.Allow && v.KeyID != f.record.Digest.ID() {
				t.Errorf("key id %s, want that of the record, %s", v.KeyID, f.record.Digest.ID())
			}
		})
	}
}

// fail makes the look-up by a pepper fail.
func (f *fixture) fail(pepper int) { f.keys.failing[f.keys.digests(token)[pepper]] = true }

// move puts the record under the older pepper.
func (f *fixture) move() {
	clear(f.keys.records)
	f.keys.add(token, 1, f.record)
}

// TestCancelledLookup: a failure because the asker went is told from an outage.
func TestCancelledLookup(t *testing.T) {
	f := newFixture(t)
	f.fail(0)
	ctx, cancel := context.WithCancel(context.Background())
	f.keys.onLookup = cancel
	v := f.Decide(ctx, request())
	if diff := cmp.Diff(unavailable(DetailCancelled), outcome{v.Allow, v.Reason, v.Detail}); diff != "" {
		t.Error(diff)
	}
}

// TestNotSyncedIsNeverAnAnswer: what is not known yet is neither anonymous nor
// absent.
func TestNotSyncedIsNeverAnAnswer(t *testing.T) {
	for name, r := range map[string]*Request{
		"anonymous": bare("GET", "/v1/status"),
		"no policy": {Method: "GET", Path: "/", Host: "x.test"},
		"malformed": {},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.synced.Store(false)
			if diff := cmp.Diff(unavailable(DetailNotSynced), f.outcome(r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestInvalidKeysLookAlike: a caller can't tell unknown, revoked, suspended and
// expired keys apart.
func TestInvalidKeysLookAlike(t *testing.T) {
	past := now.Add(-time.Hour)
	var first *policy.Denial
	for name, spoil := range map[string]func(*fixture){
		"unknown":   func(f *fixture) { clear(f.keys.records) },
		"revoked":   func(f *fixture) { f.record.State = apikey.Revoked },
		"suspended": func(f *fixture) { f.record.State = apikey.Suspended },
		"pending":   func(f *fixture) { f.record.State = apikey.Pending },
		"expired":   func(f *fixture) { f.record.ExpiresAt = &past },
		"foreign":   func(f *fixture) { f.record.Policy.Name = "tripsies" },
	} {
		f := newFixture(t)
		spoil(f)
		v := f.Decide(context.Background(), request())
		if v.KeyID != f.keys.digests(token)[0].ID() {
			t.Errorf("%s: key id %q, want that of the newest digest", name, v.KeyID)
		}
		got := v.Denial()
		if got.Status != 401 || got.Challenge == "" {
			t.Errorf("%s: status %d, challenge %q", name, got.Status, got.Challenge)
		}
		values := policy.Values{RequestID: v.RequestID, KeyID: v.KeyID}
		if first == nil {
			first = got
		}
		if diff := cmp.Diff(string(first.AppendBody(nil, values)), string(got.AppendBody(nil, values))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if first.Challenge != got.Challenge {
			t.Errorf("%s: challenge %q, another has %q", name, got.Challenge, first.Challenge)
		}
	}
}

// TestDenialIsThePolicys: where a policy resolves, even a malformed request gets
// its body.
func TestDenialIsThePolicys(t *testing.T) {
	f := newFixture(t)
	r := request()
	r.Path = "/v1//stepsies"
	r.Header[2].Value = r.Path
	if v := f.Decide(context.Background(), r); v.Policy != f.policy || v.Denial() != f.policy.Denial(policy.MalformedRequest, nil) {
		t.Errorf("the denial is not that of the policy: %+v", v)
	}
	r.Host = "x.test"
	r.Header = nil
	v := f.Decide(context.Background(), r)
	if v.Policy != nil || v.Denial().Status != 400 {
		t.Errorf("got policy %v and status %d, want none and 400", v.Policy, v.Denial().Status)
	}
	if diff := cmp.Diff(malformed(DetailPath), outcome{v.Allow, v.Reason, v.Detail}); diff != "" {
		t.Error(diff)
	}
}

func TestZeroValuesDeny(t *testing.T) {
	if (Verdict{}).Allow {
		t.Error("the zero Verdict allows")
	}
	if diff := cmp.Diff(malformed(DetailMethod), newFixture(t).outcome(&Request{})); diff != "" {
		t.Error(diff)
	}
}
