package registration

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Progress tells how far it is: on a terminal in one line that is written over, else in
// a line for each thousand, so that logs stay short. The nil Progress tells nothing.
type Progress struct {
	out      io.Writer
	terminal bool
	total    int
	every    int
	now      func() time.Time

	mu   sync.Mutex
	done int
	last time.Time
}

// NewProgress tells of so many steps.
func NewProgress(out io.Writer, terminal bool, total int) *Progress {
	return &Progress{out: out, terminal: terminal, total: total, every: 1000, now: time.Now}
}

// redraw is how often a terminal's line is written over.
const redraw = 100 * time.Millisecond

// Step tells of one more.
func (p *Progress) Step() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	switch now := p.now(); {
	case p.terminal && now.Sub(p.last) >= redraw:
		p.last = now
		fmt.Fprintf(p.out, "\r%d of %d", p.done, p.total)
	case !p.terminal && p.done%p.every == 0:
		fmt.Fprintf(p.out, "%d of %d\n", p.done, p.total)
	}
}

// End takes the line off a terminal.
func (p *Progress) End() {
	if p == nil || !p.terminal {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.IsZero() {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
