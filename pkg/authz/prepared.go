package authz

import (
	"sync"
	"sync/atomic"

	"keygate.dev/keygate/pkg/policy"
)

// prepared is what is made ahead for the requests that a policy allows.
type prepared struct {
	*upstream
	// removal is [upstream.remove] as a part of an encoded CheckResponse.
	removal []byte
}

// preparations holds what was prepared for the policies of one table. The next
// table begins with none, so that nothing is kept of policies that are gone.
type preparations struct{ current atomic.Pointer[generation] }

// generation is what was prepared while one table was in force.
type generation struct {
	table *policy.Table
	// byPolicy maps *policy.Policy → *prepared.
	byPolicy sync.Map
}

// of returns what was prepared for p, and prepares it where table is new.
func (s *preparations) of(table *policy.Table, p *policy.Policy) *prepared {
	g := s.current.Load()
	if g == nil || g.table != table {
		g = &generation{table: table}
		s.current.Store(g)
	}
	if got, ok := g.byPolicy.Load(p); ok {
		return got.(*prepared)
	}
	u := newUpstream(p)
	got, _ := g.byPolicy.LoadOrStore(p, &prepared{upstream: u, removal: encodeRemoval(u.remove)})
	return got.(*prepared)
}
