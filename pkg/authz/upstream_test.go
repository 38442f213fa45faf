package authz

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/policy"
)

// header is what reaches the upstream: the request's header after the values are
// set and then the removals are done, in Envoy's order. The names are in lower case.
func header(u *upstream, v *Verdict, r *Request) map[string][]string {
	out := map[string][]string{}
	for _, f := range r.Header {
		name := strings.ToLower(f.Name)
		out[name] = append(out[name], f.Value)
	}
	values := u.values(v)
	for i, value := range values {
		if value != "" {
			out[u.names[i]] = []string{value}
		}
	}
	for _, name := range slices.Concat(u.remove, u.removals(r, &values)) {
		delete(out, name)
	}
	return out
}

func TestUpstreamHeader(t *testing.T) {
	id := map[string][]string{
		"x-apikey-id": {"0000000000000000"}, "x-apikey-name": {"ci"}, "x-apikey-namespace": {"acme"},
		"x-apikey-policy": {"platform/stepsies"}, "x-apikey-environment": {"live"}, "x-apikey-scopes": {"read write"},
		"accept": {"*/*"},
	}
	without := func(names ...string) map[string][]string {
		out := map[string][]string{}
		for k, v := range id {
			if !slices.Contains(names, k) {
				out[k] = v
			}
		}
		return out
	}
	nobody := map[string][]string{"accept": {"*/*"}}
	named := &Verdict{Record: activeRecord(), KeyID: "0000000000000000"}
	named.Record.Scopes = []string{"read", "write"}
	scopeless := &Verdict{Record: activeRecord(), KeyID: "0000000000000000"}
	scopeless.Record.Scopes, scopeless.Record.Environment = nil, ""
	for name, tc := range map[string]struct {
		verdict *Verdict
		header  []Field
		want    map[string][]string
	}{
		"credentials are taken off": {named, []Field{{"authorization", "Bearer x"}, {"x-api-key", "x"}}, id},
		"no spoofed copy":           {named, nil, id},
		"one":                       {named, []Field{{"x-apikey-id", "evil"}}, id},
		"two":                       {named, []Field{{"x-apikey-id", "evil"}, {"X-Apikey-Id", "evil"}}, id},
		"other spellings": {named, []Field{{"x_apikey_id", "evil"}, {"x.apikey.id", "evil"}, {"x-apikey_id", "evil"},
			{"X_Apikey-Id", "evil"}, {"x-apikey.scopes", "admin"}}, id},
		"names of none of ours":       {named, []Field{{"x-apikey-admin", "true"}, {"x_apikey_", "1"}, {"x-apikey-", "1"}}, id},
		"only similar names":          {named, []Field{{"x-apikeys", "1"}}, with(id, "x-apikeys", "1")},
		"no scopes and environment":   {scopeless, []Field{{"x-apikey-scopes", "admin"}, {"x-apikey-environment", "live"}}, without("x-apikey-scopes", "x-apikey-environment")},
		"anonymous":                   {&Verdict{}, []Field{{"x-apikey-id", "evil"}, {"x-apikey-scopes", "admin"}, {"x_apikey_id", "evil"}}, nobody},
		"anonymous, with a key":       {&Verdict{}, []Field{{"authorization", "Bearer x"}}, nobody},
		"overrides":                   {named, []Field{{"x-http-method-override", "PUT"}, {"x-http-method", "PUT"}, {"x-method-override", "PUT"}, {"x-original-url", "/"}, {"x-rewrite-url", "/"}}, id},
		"overrides in other spelling": {named, []Field{{"X_HTTP_METHOD_OVERRIDE", "PUT"}, {"x.original.url", "/"}, {"x-rewrite_url", "/"}}, id},
		"longer than an override":     {named, []Field{{"x-rewrite-urls", "/"}}, with(id, "x-rewrite-urls", "/")},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Request{Header: append(tc.header, Field{"accept", "*/*"})}
			if diff := cmp.Diff(tc.want, header(newUpstream(compile(t, stepsies())), tc.verdict, r)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// with is m and one more header.
func with(m map[string][]string, name, value string) map[string][]string {
	out := map[string][]string{name: {value}}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// TestUpstreamWithoutHeaders: nothing is set, and what the caller sent is removed
// all the same.
func TestUpstreamWithoutHeaders(t *testing.T) {
	src := stepsies()
	no := false
	src.Spec.Upstream.Headers = &no
	r := &Request{Header: []Field{{"x-apikey-id", "evil"}, {"x_apikey_name", "evil"}, {"accept", "*/*"}}}
	got := header(newUpstream(compile(t, src)), &Verdict{Record: activeRecord(), KeyID: "1"}, r)
	if diff := cmp.Diff(map[string][]string{"accept": {"*/*"}}, got); diff != "" {
		t.Error(diff)
	}
}

// TestRemovalsAreSound: never a header that is set, never one twice, all valid
// names, and the spellings that Envoy may not show us are there.
func TestRemovalsAreSound(t *testing.T) {
	src := stepsies()
	// A credential that is an override, too, is removed once. One that is an identity
	// header is refused with its policy.
	src.Spec.Credentials = append(src.Spec.Credentials,
		v1alpha1.Credential{Header: &v1alpha1.CredentialHeader{Name: "X-Original-Url"}})
	u := newUpstream(compile(t, src))
	r := &Request{Header: []Field{{"x-apikey-id", "1"}, {"x_apikey_id", "1"}, {"x-apikey_id", "1"}, {"x-apikey_id", "2"},
		{"X-Apikey_ID", "3"}, {"x-original-url", "1"}, {"x-original_url", "1"}}}
	for name, v := range map[string]*Verdict{
		"known":     {Record: activeRecord(), KeyID: "1"},
		"anonymous": {},
	} {
		values := u.values(v)
		removals := slices.Concat(u.remove, u.removals(r, &values))
		for i, removed := range removals {
			if slices.Contains(removals[:i], removed) {
				t.Errorf("%s: %s is removed twice", name, removed)
			}
			if !isToken(removed) || strings.ToLower(removed) != removed {
				t.Errorf("%s: %q is removed, which is no name in lower case", name, removed)
			}
			if at := slices.Index(u.names[:], removed); at >= 0 && values[at] != "" {
				t.Errorf("%s: %s is set and removed", name, removed)
			}
		}
		for _, want := range []string{"authorization", "x-api-key", "x_apikey_id", "x.apikey.id", "x-apikey_id",
			"x_apikey_scopes", "x.apikey.environment", "x-http-method-override", "x_http_method_override",
			"x.http.method.override", "x-original-url", "x-original_url", "x-rewrite-url"} {
			if !slices.Contains(removals, want) {
				t.Errorf("%s: %s is not removed", name, want)
			}
		}
		if anonymous := v.Record == nil; slices.Contains(removals, "x-apikey-id") != anonymous {
			t.Errorf("%s: x-apikey-id is removed: %v", name, !anonymous)
		}
	}
}

func TestPreparationsFollowTheTable(t *testing.T) {
	p := compile(t, stepsies())
	first, second := policy.NewTable(nil), policy.NewTable(nil)
	var us preparations
	a := us.of(first, p)
	if b := us.of(first, p); a != b {
		t.Error("prepared twice for one table")
	}
	if b := us.of(second, p); a == b {
		t.Error("kept from a table that is gone")
	}
	if b := us.of(second, compile(t, stepsies())); b == us.of(second, p) {
		t.Error("one for two policies")
	}
}
