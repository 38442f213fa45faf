package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Entry is one policy of a [Table].
type Entry struct {
	// Namespace, Name and UID of the APIKeyPolicy.
	Namespace, Name, UID string
	// Created is its creation time.
	Created time.Time
	// Hosts that it may decide, as it claims them.
	Hosts []string
	// Policy compiled; nil: there is such a policy, but it can't be used.
	Policy *Policy
}

// NewEntry is the entry of the policy p that was compiled from src; nil where it
// can't be. Hosts are claimed only where the operator allows it.
func NewEntry(src *Source, p *Policy) Entry {
	e := Entry{Namespace: src.Namespace, Name: src.Name, UID: src.UID, Created: src.Created, Policy: p}
	if src.ClaimsHosts {
		e.Hosts = texts(src.Spec.Hosts)
	}
	return e
}

// name is "namespace/name".
func (e *Entry) name() string { return e.Namespace + "/" + e.Name }

// Table finds policies by name and by host. It is immutable. The zero Table is empty.
type Table struct {
	// names maps "namespace/name" → policy.
	names map[string]*Entry
	// hosts maps an exact host → the policy that decides it.
	hosts map[string]*Entry
	// wildcards maps the name behind "*." → the policy that decides what is below it.
	wildcards map[string]*Entry
}

// NewTable makes a table. Of the policies that claim the same host the oldest has it,
// then the first by namespace and name, whatever the order of entries.
func NewTable(entries []Entry) *Table {
	t := &Table{names: map[string]*Entry{}, hosts: map[string]*Entry{}, wildcards: map[string]*Entry{}}
	sorted := slices.Clone(entries)
	slices.SortStableFunc(sorted, byPrecedence)
	for i := range sorted {
		e := &sorted[i]
		claim(t.names, e.name(), e)
		for _, host := range e.Hosts {
			if below, ok := strings.CutPrefix(host, wildcard); ok {
				claim(t.wildcards, below, e)
			} else {
				claim(t.hosts, host, e)
			}
		}
	}
	return t
}

// claim gives key to e unless it is taken.
func claim(m map[string]*Entry, key string, e *Entry) {
	if m[key] == nil {
		m[key] = e
	}
}

// byPrecedence puts the policy first that wins a claim. One whose age is unknown
// wins none over others.
func byPrecedence(a, b Entry) int {
	if a.Created.IsZero() != b.Created.IsZero() {
		if a.Created.IsZero() {
			return 1
		}
		return -1
	}
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// ByName finds the policy "namespace/name". known and nil: there is one, but it can't
// be used.
func (t *Table) ByName(name string) (p *Policy, known bool) { return t.names[name].policy() }

// ByHost finds the policy that decides the host of an authority, which may have a
// port: an exact claim goes before a wildcard, a longer wildcard before a shorter.
// known and nil: there is one, but it can't be used.
func (t *Table) ByHost(authority string) (p *Policy, known bool) {
	host := hostOf(authority)
	if e := t.hosts[host]; e != nil {
		return e.policy()
	}
	for {
		_, below, ok := strings.Cut(host, ".")
		if !ok {
			return nil, false
		}
		if e := t.wildcards[below]; e != nil {
			return e.policy()
		}
		host = below
	}
}

// Owner finds the policy that wins a claim, written as in spec.hosts: "example.com"
// or "*.example.com". False: nobody claims it.
func (t *Table) Owner(host string) (Entry, bool) {
	e := t.hosts[host]
	if below, ok := strings.CutPrefix(host, wildcard); ok {
		e = t.wildcards[below]
	}
	if e == nil {
		return Entry{}, false
	}
	return *e, true
}

// policy is what a look-up that found e returns; e is nil where it found none.
func (e *Entry) policy() (p *Policy, known bool) {
	if e == nil {
		return nil, false
	}
	return e.Policy, true
}
