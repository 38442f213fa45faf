package keystore

import (
	"strings"
	"sync"

	"keygate.dev/keygate/pkg/apikey"
)

// internLimit bounds each table of an interner.
const internLimit = 1 << 14

// interner makes records share what many of them have in common.
type interner struct {
	mu sync.Mutex
	// strings: value → the one copy of it.
	strings map[string]string
	// lists: elements after NULs → the one list of them.
	lists map[string][]string
}

func newInterner() *interner {
	return &interner{strings: map[string]string{}, lists: map[string][]string{}}
}

// compact makes the entry of a record: only what requests are judged by, with
// shared strings. What merely rebuilds status is left out.
func (n *interner) compact(r *apikey.Record, version uint64) *entry {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := &entry{version: version, record: apikey.Record{
		Digest:       r.Digest,
		Pepper:       r.Pepper,
		Owner:        r.Owner,
		Serial:       r.Serial,
		Policy:       n.refLocked(r.Policy),
		Environment:  n.stringLocked(r.Environment),
		Scopes:       n.listLocked(r.Scopes),
		Plan:         n.stringLocked(r.Plan),
		ExpiresAt:    r.ExpiresAt,
		AllowedCIDRs: r.AllowedCIDRs,
		State:        apikey.State(n.stringLocked(string(r.State))),
		Metadata:     r.Metadata,
		RetiredAt:    r.RetiredAt,
	}}
	e.record.Owner.Namespace = n.stringLocked(r.Owner.Namespace)
	return e
}

func (n *interner) refLocked(ref apikey.Ref) apikey.Ref {
	return apikey.Ref{
		Namespace: n.stringLocked(ref.Namespace),
		Name:      n.stringLocked(ref.Name),
		UID:       n.stringLocked(ref.UID),
	}
}

func (n *interner) stringLocked(s string) string {
	if shared, found := n.strings[s]; found {
		return shared
	}
	if len(n.strings) >= internLimit {
		clear(n.strings) // what is shared stays shared; later copies are new ones
	}
	n.strings[s] = s
	return s
}

func (n *interner) listLocked(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	key := strings.Join(list, "\x00")
	if shared, found := n.lists[key]; found {
		return shared
	}
	if len(n.lists) >= internLimit {
		clear(n.lists)
	}
	shared := make([]string, len(list))
	for i, s := range list {
		shared[i] = n.stringLocked(s)
	}
	n.lists[key] = shared
	return shared
}
