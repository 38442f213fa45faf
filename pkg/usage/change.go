package usage

import (
	"slices"

	"keygate.dev/keygate/pkg/apikey"
)

// Change is what is to be written of one APIKey.
type Change struct {
	// Owner is the APIKey.
	Owner apikey.Ref
	// Uses of its tokens, at least one.
	Uses []Use
	// KeepLast leaves lastUsedAt as it is: it is later than all of them.
	KeepLast bool
}

// Use is when a token was last used.
type Use struct {
	// ID of the token, as a number.
	ID uint64
	// Minute since 1970.
	Minute int64
}

// last is the latest of the uses.
func (c Change) last() Use {
	return slices.MaxFunc(c.Uses, func(a, b Use) int { return int(a.Minute - b.Minute) })
}

// narrow is what is left to try of a change that was refused: the API takes no time
// that goes back, and another replica may have written later ones. What was refused
// by name is left out, and of several tokens each is tried alone.
func (c Change) narrow(refused *Refused) (rest []Change) {
	last, keep := c.last(), c.KeepLast || refused.Last
	switch {
	case !refused.Usage && !c.KeepLast:
		rest = []Change{{Owner: c.Owner, Uses: c.Uses, KeepLast: true}}
	case refused.Usage && len(c.Uses) > 1:
		for _, u := range c.Uses {
			rest = append(rest, Change{Owner: c.Owner, Uses: []Use{u}, KeepLast: keep || u != last})
		}
	}
	return rest
}
