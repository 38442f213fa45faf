package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/pkg/policy"
)

func TestSourceSurvivesMarshalling(t *testing.T) {
	want := source(t, `
hosts: [api.example.com]
grants: [{namespaces: {from: Selector, selector: {matchLabels: {a: b}}}, scopes: [read], maxTTL: 2160h, requireExpiry: true}]
upstream: {headers: false}
plans: [{name: basic, limits: [{requests: 10, per: 1h30m}]}]
defaultPlan: basic
requireTLS: true
preflight: Allow
limitFailure: FailOpen
credentials: [{query: {name: key}}, {header: {name: X-Key}}]
errors: {bodies: {"401": {b: 1.0, a: "{message}"}}}
`)
	want.Generation, want.Created = 7, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	data, err := policy.MarshalSource(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := policy.ParseSource(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

const goodSource = `{"namespace":"a","name":"b","uid":"c","generation":2,"created":"2026-01-02T03:04:05Z","claimsHosts":true,"spec":{"hosts":["x.com"],"environments":[],"rules":[]}}`

func TestParseSource(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"good":                    {"", "", ""},
		"space behind":            {"]}}", "]}} \n", ""},
		"an unknown field":        {`"uid"`, `"flags":[],"uid"`, `unknown field "flags"`},
		"an unknown field within": {`"rules"`, `"quotas":[],"rules"`, `unknown field "quotas"`},
		"no namespace":            {`"a"`, `""`, "without namespace"},
		"no name":                 {`"b"`, `""`, "without namespace"},
		"no uid":                  {`"c"`, `""`, "without namespace"},
		"something behind":        {"]}}", "]}} {}", "something follows"},
		"garbage behind":          {"]}}", "]}}}", "something follows"},
		"half of it":              {"]}}", "]", "decode policy"},
		"nothing":                 {goodSource, "", "decode policy"},
		"a life that is none":     {`"rules":[]`, `"rules":[],"grants":[{"namespaces":{},"maxTTL":"90d"}]`, "decode policy"},
		"a life as a number":      {`"rules":[]`, `"rules":[],"grants":[{"namespaces":{},"maxTTL":90}]`, "decode policy"},
		"a time that is none":     {"2026-01-02", "2026-13-02", "decode policy"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := policy.ParseSource([]byte(strings.Replace(goodSource, c.from, c.to, 1)))
			switch {
			case c.want == "" && (err != nil || s.Name != "b"):
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || s != nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, %v, want an error that says %q", s, err, c.want)
			}
		})
	}
}

func TestParseSourceHeader(t *testing.T) {
	for name, c := range map[string]struct{ from, to, want string }{
		"good":                    {"", "", ""},
		"an unknown field":        {`"uid"`, `"flags":[],"uid"`, ""},
		"an unknown field within": {`"rules"`, `"quotas":[],"rules"`, ""},
		"rules of another shape":  {`"rules":[]`, `"rules":{"a":1}`, ""},
		"no namespace":            {`"a"`, `""`, "without namespace"},
		"no name":                 {`"b"`, `""`, "without namespace"},
		"no uid":                  {`"c"`, `""`, "without namespace"},
		"half of it":              {"]}}", "]", "decode policy header"},
		"something behind":        {"]}}", "]}} {}", "decode policy header"},
		"hosts of another shape":  {`["x.com"]`, `[{}]`, "decode policy header"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := policy.ParseSourceHeader([]byte(strings.Replace(goodSource, c.from, c.to, 1)))
			if c.want != "" {
				if err == nil || got != nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, %v, want an error that says %q", got, err, c.want)
				}
				return
			}
			want := &policy.Source{Namespace: "a", Name: "b", UID: "c", Generation: 2, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), ClaimsHosts: true}
			want.Spec.Hosts = append(want.Spec.Hosts, "x.com")
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func FuzzParseSource(f *testing.F) {
	f.Add([]byte(goodSource))
	data, err := policy.MarshalSource(source(f, "errors: {bodies: {default: {a: [\"{message}\"]}}}\ngrants: [{namespaces: {from: All}, plans: [a], maxTTL: 1h30m, requireExpiry: true}, {maxTTL: 0s}]\nplans: [{name: a, limits: [{requests: 1, per: 1h}]}]\ndefaultPlan: a\ncredentials: [{query: {name: k}}]"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		src, err := policy.ParseSource(data)
		if err != nil {
			return
		}
		header, err := policy.ParseSourceHeader(data)
		if err != nil {
			t.Fatalf("readable, but its header is not: %v", err)
		}
		if diff := cmp.Diff(policy.NewEntry(src, nil), policy.NewEntry(header, nil)); diff != "" {
			t.Fatalf("the header says something else (-all +header):\n%s", diff)
		}
		p, err := policy.Compile(src)
		if err != nil {
			return
		}
		again, err := policy.MarshalSource(src)
		if err != nil {
			t.Fatal(err)
		}
		if src, err = policy.ParseSource(again); err != nil {
			t.Fatal(err)
		}
		if _, err = policy.Compile(src); err != nil {
			t.Fatalf("%s compiles once, but not when written again: %v", p, err)
		}
	})
}
