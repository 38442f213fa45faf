package authz

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/policy"
)

// inQueries takes keys in the parameters api_key and k~1, too.
func inQueries(spec *v1alpha1.APIKeyPolicySpec) {
	spec.Credentials = append(spec.Credentials,
		v1alpha1.Credential{Query: &v1alpha1.CredentialQuery{Name: "api_key"}},
		v1alpha1.Credential{Query: &v1alpha1.CredentialQuery{Name: "k~1"}})
}

func TestDecideQuery(t *testing.T) {
	header := Field{"authorization", "Bearer " + token}
	escaped := ""
	for i := range len(token) {
		escaped += "%" + strings.ToUpper(string("0123456789abcdef"[token[i]>>4])+string("0123456789abcdef"[token[i]&15]))
	}
	disguised := malformed(DetailQuery)
	for name, tc := range map[string]struct {
		query  string
		header []Field
		want   outcome
	}{
		"the key":                          {"api_key=" + token, nil, allowed},
		"the other parameter":              {"k~1=" + token, nil, allowed},
		"among others":                     {"a=b&api_key=" + token + "&c", nil, allowed},
		"a question mark in between":       {"a=?&api_key=" + token, nil, allowed},
		"no query":                         {"", nil, missing},
		"another parameter":                {"apikey=" + token, nil, missing},
		"case matters":                     {"API_KEY=" + token, nil, missing},
		"longer name":                      {"api_keys=" + token, nil, missing},
		"shorter name":                     {"api_ke=" + token, nil, missing},
		"behind a question mark":           {"?api_key=" + token, nil, missing},
		"a list":                           {"api_key[]=" + token, nil, missing},
		"only in a value":                  {"a=api_key=" + token, nil, missing},
		"a plus is no space":               {"+api_key=" + token, nil, missing},
		"no name":                          {"=" + token, nil, missing},
		"no value":                         {"api_key=", nil, badToken},
		"no equals sign":                   {"api_key", nil, badToken},
		"scheme":                           {"api_key=Bearer%20" + token, nil, badToken},
		"unknown key":                      {"api_key=sk_other", nil, invalid(DetailUnknown)},
		"unknown key with signs":           {"api_key=sk/+~-._==", nil, invalid(DetailUnknown)},
		"escaped throughout":               {"api_key=" + escaped, nil, allowed},
		"escaped in lower case":            {"api_key=" + strings.ToLower(escaped), nil, allowed},
		"escaped in part":                  {"api_key=%73" + token[1:], nil, allowed},
		"escaped twice":                    {"api_key=%2573" + token[1:], nil, badToken},
		"a bad escape":                     {"api_key=%7" + token, nil, badToken},
		"a worse escape":                   {"api_key=%x" + token, nil, badToken},
		"a cut escape":                     {"api_key=" + token + "%", nil, badToken},
		"a shorter cut escape":             {"api_key=" + token + "%4", nil, badToken},
		"a space":                          {"api_key=" + token + "+", nil, badPlus},
		"longest unknown token":            {"api_key=%61" + strings.Repeat("a", 511), nil, invalid(DetailUnknown)},
		"too long":                         {"api_key=%61" + strings.Repeat("a", 512), nil, badToken},
		"twice":                            {"api_key=" + token + "&api_key=" + token, nil, duplicate},
		"twice, apart":                     {"api_key=" + token + "&a&api_key=", nil, duplicate},
		"both parameters":                  {"api_key=" + token + "&k~1=" + token, nil, duplicate},
		"parameter and header":             {"api_key=" + token, []Field{header}, duplicate},
		"empty parameter and header":       {"api_key", []Field{header}, duplicate},
		"header and no parameter":          {"apikey=x", []Field{header}, allowed},
		"encoded name":                     {"api%5Fkey=" + token, nil, disguised},
		"encoded name in lower case":       {"api%5fkey=" + token, nil, disguised},
		"encoded throughout":               {"%61%70%69%5f%6b%65%79=" + token, nil, disguised},
		"the other's name encoded":         {"k%7E1=" + token, nil, disguised},
		"encoded name without a value":     {"api%5Fkey", nil, disguised},
		"encoded name beside a header":     {"a=b&api%5Fkey=" + token, []Field{header}, disguised},
		"encoded name beside the key":      {"api_key=" + token + "&%61pi_key=x", nil, disguised},
		"name encoded twice":               {"api%255Fkey=" + token, nil, missing},
		"another name encoded":             {"api%5Fkeys=" + token, []Field{header}, allowed},
		"begins like the name":             {"api%5Fke=" + token, []Field{header}, allowed},
		"an encoded name without a key":    {"%61=%zz&%", []Field{header}, allowed},
		"encoded name in a value":          {"a=api%5Fkey", []Field{header}, allowed},
		"behind a semicolon":               {"a=b;api_key=" + token, nil, disguised},
		"before a semicolon":               {"api_key=" + token + ";a=b", nil, disguised},
		"encoded, behind a semicolon":      {"a=b;api%5Fkey=" + token, nil, disguised},
		"a name alone behind a semicolon":  {"a;api_key", []Field{header}, disguised},
		"a semicolon":                      {"a=b;c=d;;", []Field{header}, allowed},
		"a semicolon elsewhere":            {"a;b&api_key=" + token, nil, allowed},
		"an encoded semicolon is a value":  {"a=b%3Bapi_key=" + token, []Field{header}, allowed},
		"an encoded ampersand is a value":  {"a=b%26api_key=" + token, []Field{header}, allowed},
		"encoded equals sign is no name's": {"api_key%3D" + token, []Field{header}, allowed},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixtureWith(t, inQueries)
			target := "/v1/stepsies"
			if tc.query != "" {
				target += "?" + tc.query
			}
			if diff := cmp.Diff(tc.want, f.outcome(bare("GET", target, tc.header...))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// badPlus: a plus sign stands for itself, so that this is another key.
var badPlus = invalid(DetailUnknown)

// TestQueryIsNoMatterWhereNoneIsDeclared: other policies' queries are their own.
func TestQueryIsNoMatterWhereNoneIsDeclared(t *testing.T) {
	f := newFixture(t)
	r := bare("GET", "/v1/stepsies?api_key=x&api%5Fkey=y;api_key", Field{"authorization", "Bearer " + token})
	if diff := cmp.Diff(allowed, f.outcome(r)); diff != "" {
		t.Error(diff)
	}
	if target, changed := r.withoutKeys(f.policy.Credentials()); changed {
		t.Errorf("it was changed to %q", target)
	}
	if diff := cmp.Diff(missing, f.outcome(bare("GET", "/v1/stepsies?="+token+"&"))); diff != "" {
		t.Errorf("a parameter without a name: %s", diff)
	}
}

// TestAnonymousQuery: a key that nobody asked for is no matter, but for one that
// could not be taken off.
func TestAnonymousQuery(t *testing.T) {
	f := newFixtureWith(t, inQueries)
	for query, want := range map[string]outcome{
		"api_key=x": anonymous, "api_key=x&api_key=y": anonymous, "api%5Fkey=x": malformed(DetailQuery), "a;api_key=x": malformed(DetailQuery),
	} {
		if diff := cmp.Diff(want, f.outcome(bare("GET", "/v1/status?"+query))); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

func TestWithoutKeys(t *testing.T) {
	places := newFixtureWith(t, inQueries).policy.Credentials()
	for target, want := range map[string]string{
		"/a?api_key=x":                   "/a",
		"/a?api_key":                     "/a",
		"/a?api_key=x&k~1=y":             "/a",
		"/a?api_key=x&b=2&a=1":           "/a?b=2&a=1",
		"/a?b=2&api_key=x&a=1":           "/a?b=2&a=1",
		"/a?b=2&a=1&api_key=x":           "/a?b=2&a=1",
		"/a?b&api_key=x&y=&=z&&%7e+%20?": "/a?b&y=&=z&&%7e+%20?",
		"/a?&api_key=x&":                 "/a?&",
		"/a?api_key=x&":                  "/a?",
		"/a?b=api_key=x":                 "",
		"/a?":                            "",
		"/a":                             "",
		"/api_key=x":                     "",
		"/a?API_KEY=x":                   "",
	} {
		r := &Request{Path: target}
		got, changed := r.withoutKeys(places)
		if got != want || changed != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", target, got, changed, want)
		}
	}
}

// FuzzQuery: what is left of a query holds no declared parameter, in the reading of
// any server that splits at "&" and decodes once, and is otherwise what it was.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"api_key=x", "a=1&api_key=x&b", "api%5Fkey=x", "a;api_key=x", "%&&=&k~1", "k%7e1=%zz"} {
		f.Add(seed)
	}
	places := newFixtureWith(f, inQueries).policy.Credentials()
	f.Fuzz(func(t *testing.T, query string) {
		r := &Request{Path: "/a?" + query}
		if strings.ContainsAny(query, "#") {
			return
		}
		target, changed := r.withoutKeys(places)
		if !changed {
			target = r.Path
		}
		if r.disguised(places) {
			return // never goes upstream
		}
		_, rest, _ := strings.Cut(target, "?")
		var kept []string
		for _, parameter := range strings.Split(query, "&") {
			if name, _, _ := strings.Cut(parameter, "="); name != "api_key" && name != "k~1" {
				kept = append(kept, parameter)
			}
		}
		if want := strings.Join(kept, "&"); rest != want {
			t.Errorf("%q became %q, want %q", query, rest, want)
		}
		for _, parameter := range strings.FieldsFunc(rest, func(c rune) bool { return c == '&' || c == ';' }) {
			name, _, _ := strings.Cut(parameter, "=")
			if decoded, err := url.PathUnescape(name); err == nil {
				name = decoded
			}
			if slices.ContainsFunc(places, func(p policy.Credential) bool { return p.Query != "" && p.Query == name }) {
				t.Errorf("%q leaves %q, which has %q", query, rest, name)
			}
		}
	})
}
