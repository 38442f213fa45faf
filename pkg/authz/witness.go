package authz

import (
	"net/netip"
	"time"

	"keygate.dev/keygate/pkg/apikey"
)

// Witness is told, on the path of the request, of keys that are used. It returns at
// once, keeps nothing of a record but what it copies or shares, and changes nothing.
type Witness interface {
	// Used: a key let a caller in.
	Used(r *apikey.Record, at time.Time)
	// Refused: somebody was turned away because a key is dead; why is the detail. The
	// zero address is one that is not known.
	Refused(r *apikey.Record, why string, from netip.Addr, at time.Time)
}

// tell tells the witness of a verdict on a key that is known.
func (s *service) tell(v *Verdict, r *Request, at time.Time) {
	switch {
	case s.witness == nil || v.Record == nil:
	case v.Allow:
		s.witness.Used(v.Record, at)
	case dead(v.Detail):
		s.witness.Refused(v.Record, string(v.Detail), r.Address, at)
	}
}

// dead reports whether a key that was denied for a detail is dead for good, or until
// its owner prolongs it.
func dead(detail Detail) bool {
	switch detail {
	case DetailRevoked, DetailRotated, DetailExpired:
		return true
	}
	return false
}
