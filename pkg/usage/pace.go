package usage

import "time"

// pace spaces writes so that none of a second's is more than there may be, whenever
// that second begins and however long the writes take on their way: each begins a
// second after the end of the one so many before it.
type pace struct {
	every time.Duration
	begun time.Time
	// ended is a ring of when the last ones ended; at is the place of the oldest.
	ended []time.Time
	at    int
}

func newPace(perSecond int) *pace {
	return &pace{every: time.Second / time.Duration(perSecond), ended: make([]time.Time, perSecond)}
}

// next is when the next write may begin.
func (p *pace) next() time.Time {
	next := p.begun.Add(p.every)
	if oldest := p.ended[p.at].Add(time.Second); oldest.After(next) {
		next = oldest
	}
	return next
}

func (p *pace) begin(now time.Time) { p.begun = now }

func (p *pace) end(now time.Time) {
	p.ended[p.at] = now
	p.at = (p.at + 1) % len(p.ended)
}
