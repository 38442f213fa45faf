package keystore

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

// policyData is the member of a policy Secret's data that holds it, as JSON.
const policyData = "policy"

// policies are the accepted policies, and the table that is made of them.
type policies struct {
	mu sync.Mutex
	// known: name of the Secret → the policy in it.
	known map[string]knownPolicy
	// deletions counts deletions that were heard of; see admit.
	deletions uint64
	// table of all that is known.
	table atomic.Pointer[policy.Table]
}

// knownPolicy is what is known of one policy.
type knownPolicy struct {
	// version is the resourceVersion of its Secret.
	version uint64
	entry   policy.Entry
}

func newPolicies() *policies {
	p := &policies{known: map[string]knownPolicy{}}
	p.table.Store(policy.NewTable(nil))
	return p
}

// version is the resourceVersion of the Secret's policy, 0 where there is none.
func (p *policies) version(name string) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[name].version
}

// put takes in a sound policy, unless it is older than what is known.
func (p *policies) put(it *item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.putLocked(it) {
		p.tabulateLocked()
	}
}

// deletionCount is the number to hand to admit, read before the live read begins.
func (p *policies) deletionCount() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deletions
}

// admit takes in what a live read says, as [index.admit] does. It reports whether
// that was news.
func (p *policies) admit(it *item, deletions uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, found := p.known[it.name]; !found && p.deletions != deletions {
		return false
	}
	if !p.putLocked(it) {
		return false
	}
	p.tabulateLocked()
	return true
}

// putLocked keeps the last good form of the same policy where the new one can't be
// used by this version.
func (p *policies) putLocked(it *item) bool {
	old, found := p.known[it.name]
	if it.version <= old.version {
		return false
	}
	entry := *it.policy
	if found && entry.Policy == nil && old.entry.UID == entry.UID {
		entry = old.entry
	}
	p.known[it.name] = knownPolicy{version: it.version, entry: entry}
	return true
}

// remove forgets a policy whose Secret is gone as of a version; a younger one
// stays. It reports whether there was one to forget.
func (p *policies) remove(name string, version uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deletions++ // of an unknown one too: a read of it may be on its way
	old, found := p.known[name]
	if !found || old.version > version {
		return false
	}
	delete(p.known, name)
	p.tabulateLocked()
	return true
}

// replace takes in a list of all Secrets that are not named as records, as of a
// version. What is younger than the list stays, and so does the last good form of
// what is listed but not sound.
func (p *policies) replace(items []*item, at uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	listed := map[string]bool{}
	for _, it := range items {
		listed[it.name] = true
		if it.sound {
			p.putLocked(it)
		}
	}
	for name, known := range p.known {
		if !listed[name] && known.version <= at {
			delete(p.known, name)
		}
	}
	p.deletions++ // whatever is not listed was deleted
	p.tabulateLocked()
}

// missing are the names that are not in a list as of a version, but should be.
func (p *policies) missing(listed map[string]bool, at uint64) (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, known := range p.known {
		if !listed[name] && known.version <= at {
			names = append(names, name)
		}
	}
	return names
}

// len is the number of policies.
func (p *policies) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.known)
}

// tabulateLocked publishes what is known.
func (p *policies) tabulateLocked() {
	entries := make([]policy.Entry, 0, len(p.known))
	for _, name := range slices.Sorted(maps.Keys(p.known)) {
		entries = append(entries, p.known[name].entry)
	}
	p.table.Store(policy.NewTable(entries))
}

// compile makes the entry of an accepted policy. Where this version can't compile
// it, the entry has no Policy, beside the error.
func compile(source *policy.Source) (*policy.Entry, error) {
	compiled, err := policy.Compile(source)
	if err != nil {
		compiled = nil
	}
	entry := policy.NewEntry(source, compiled)
	return &entry, err
}

// policyHeader is what every version of Keygate can read of an accepted policy.
type policyHeader struct {
	Namespace   string    `json:"namespace"`
	Name        string    `json:"name"`
	UID         string    `json:"uid"`
	Created     time.Time `json:"created"`
	ClaimsHosts bool      `json:"claimsHosts"`
	Spec        struct {
		Hosts []string `json:"hosts"`
	} `json:"spec"`
}

// readHeader makes the entry of an accepted policy that this version can't read
// whole, of a Secret whose seal was found to fit; nil where even that much can't be
// read, or is another policy's than the name says.
func readHeader(secret *corev1.Secret) *policy.Entry {
	h := policyHeader{}
	if err := json.Unmarshal(secret.Data[policyData], &h); err != nil || h.UID == "" {
		return nil
	}
	if keysecret.PolicyName(h.Namespace, h.Name) != secret.Name {
		return nil
	}
	entry := &policy.Entry{Namespace: h.Namespace, Name: h.Name, UID: h.UID, Created: h.Created}
	if h.ClaimsHosts {
		entry.Hosts = h.Spec.Hosts
	}
	return entry
}
