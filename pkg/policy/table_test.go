package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/pkg/policy"
)

// entry is a policy of namespace/name, created at the second age, that claims hosts.
func entry(tb testing.TB, name string, age int64, hosts ...string) policy.Entry {
	tb.Helper()
	src := source(tb, "")
	src.Namespace, src.Name, _ = strings.Cut(name, "/")
	p, err := policy.Compile(src)
	if err != nil {
		tb.Fatal(err)
	}
	e := policy.Entry{Namespace: src.Namespace, Name: src.Name, UID: name, Hosts: hosts, Policy: p}
	if age != 0 {
		e.Created = time.Unix(age, 0)
	}
	return e
}

// found names what a look-up found.
func found(p *policy.Policy, known bool) string {
	switch {
	case p != nil && !known:
		return "a policy that is not known"
	case p != nil:
		return p.String()
	case known:
		return "unusable"
	}
	return ""
}

func TestByHost(t *testing.T) {
	table := policy.NewTable([]policy.Entry{
		entry(t, "a/exact", 1, "api.example.com"),
		entry(t, "a/wild", 1, "*.example.com"),
		entry(t, "a/wilder", 1, "*.com", "*.deep.api.example.com"),
		entry(t, "a/address", 1, "192.0.2.1"),
		{Namespace: "a", Name: "broken", UID: "u", Created: time.Unix(1, 0), Hosts: []string{"broken.example.com", "*.broken.org"}},
	})
	for authority, want := range map[string]string{
		"api.example.com":           "a/exact",
		"API.Example.COM":           "a/exact",
		"api.example.com:443":       "a/exact",
		"api.example.com:":          "a/exact",
		"api.example.com.":          "a/exact",
		"Api.example.com.:8443":     "a/exact",
		"www.example.com":           "a/wild",
		"a.b.example.com":           "a/wild",
		"x.api.example.com":         "a/wild",
		"x.deep.api.example.com":    "a/wilder",
		"deep.api.example.com":      "a/wild",
		"my_host.example.com:80":    "a/wild",
		"example.com":               "a/wilder",
		"com":                       "",
		"example.org":               "",
		"apiXexample.com":           "a/wilder",
		"192.0.2.1":                 "a/address",
		"192.0.2.1:80":              "a/address",
		"broken.example.com":        "unusable",
		"x.broken.org":              "unusable",
		"broken.org":                "",
		"":                          "",
		".":                         "",
		":80":                       "",
		"api.example.com..":         "",
		".example.com":              "",
		"a..example.com":            "",
		"api.example.com:8a":        "",
		"api.example.com:80:80":     "",
		"x:1.example.com:80":        "",
		"user@api.example.com":      "",
		"user@www.example.com":      "",
		"www.example.com/":          "",
		"www.example.com,b.org":     "",
		"www example.com":           "",
		"*.example.com":             "",
		"www%2eexample.com":         "",
		"wwwé.example.com":          "",
		"\u212Aelvin.example.com":   "", // the Kelvin sign is no k
		"[::1]":                     "",
		"[::1]:443":                 "",
		"::1":                       "",
		"[2001:db8::1].example.com": "",
		strings.Repeat("a", 241) + ".example.com":   "a/wild",
		strings.Repeat("a", 242) + ".example.com":   "",
		strings.Repeat("a", 241) + ".example.com.":  "a/wild",
		strings.Repeat("a.", 30000) + "example.com": "",
	} {
		if got := found(table.ByHost(authority)); got != want {
			t.Errorf("%.60q: %q, want %q", authority, got, want)
		}
	}
}

func TestByName(t *testing.T) {
	table := policy.NewTable([]policy.Entry{
		entry(t, "a/one", 1), entry(t, "b/one", 2), {Namespace: "a", Name: "broken", UID: "u"},
	})
	for name, want := range map[string]string{
		"a/one": "a/one", "b/one": "b/one", "a/broken": "unusable", "one": "", "": "", "/": "", "A/one": "", "a/one/": "",
	} {
		if got := found(table.ByName(name)); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestTheZeroTableIsEmpty(t *testing.T) {
	for _, table := range []*policy.Table{{}, policy.NewTable(nil)} {
		if p, known := table.ByName("a/one"); p != nil || known {
			t.Error("a name is known")
		}
		if p, known := table.ByHost("example.com"); p != nil || known {
			t.Error("a host is known")
		}
		if _, ok := table.Owner("example.com"); ok {
			t.Error("a host is owned")
		}
	}
}

func TestClaimsOfTheSameHost(t *testing.T) {
	const host = "example.com"
	for name, c := range map[string]struct {
		first, second policy.Entry // the first wins
	}{
		"the older wins":            {entry(t, "z/z", 1, host), entry(t, "a/a", 2, host)},
		"then the namespace":        {entry(t, "a/z", 1, host), entry(t, "b/a", 1, host)},
		"then the name":             {entry(t, "a/a", 1, host), entry(t, "a/b", 1, host)},
		"an unknown age wins never": {entry(t, "z/z", 9, host), entry(t, "a/a", 0, host)},
		"unknown ages by name":      {entry(t, "a/a", 0, host), entry(t, "a/b", 0, host)},
	} {
		t.Run(name, func(t *testing.T) {
			want := c.first.UID
			for _, entries := range [][]policy.Entry{{c.first, c.second}, {c.second, c.first}} {
				given := slices.Clone(entries)
				table := policy.NewTable(entries)
				if got := found(table.ByHost(host)); got != want {
					t.Errorf("%q, want %q", got, want)
				}
				if owner, ok := table.Owner(host); !ok || owner.UID != want {
					t.Errorf("owner %q, want %q", owner.UID, want)
				}
				if entries[0].UID != given[0].UID {
					t.Error("the entries were reordered under their owner")
				}
			}
		})
	}
}

// A policy that can't be used keeps its hosts: another must not take them over.
func TestUnusablePoliciesKeepTheirHosts(t *testing.T) {
	broken := entry(t, "a/broken", 1, "example.com")
	broken.Policy = nil
	table := policy.NewTable([]policy.Entry{entry(t, "a/young", 2, "example.com"), broken})
	if got := found(table.ByHost("example.com")); got != "unusable" {
		t.Errorf("found %q", got)
	}
}

func TestOwner(t *testing.T) {
	table := policy.NewTable([]policy.Entry{
		entry(t, "a/exact", 1, "www.example.com"), entry(t, "a/wild", 2, "*.example.com"), entry(t, "a/late", 3, "*.example.com", "www.example.com"),
	})
	for host, want := range map[string]string{
		"www.example.com": "a/exact", "*.example.com": "a/wild", "api.example.com": "", "example.com": "", "*.www.example.com": "", "*.": "", "": "",
	} {
		owner, ok := table.Owner(host)
		if owner.UID != want || ok != (want != "") {
			t.Errorf("%q: %q, %v, want %q", host, owner.UID, ok, want)
		}
	}
}

func TestNewEntry(t *testing.T) {
	src := source(t, "hosts: [a.com, \"*.b.com\"]")
	p := compile(t, "")
	want := policy.Entry{Namespace: "platform", Name: "stepsies", UID: "a-uid", Created: time.Unix(1, 0), Hosts: []string{"a.com", "*.b.com"}, Policy: p}
	samePolicy := cmp.Comparer(func(a, b *policy.Policy) bool { return a == b })
	if diff := cmp.Diff(want, policy.NewEntry(src, p), samePolicy); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	src.ClaimsHosts = false
	want.Hosts, want.Policy = nil, nil
	if diff := cmp.Diff(want, policy.NewEntry(src, nil), samePolicy); diff != "" {
		t.Errorf("without the right to claim hosts (-want +got):\n%s", diff)
	}
}
