package usage

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/audit"
)

const (
	// tellEvery is the least time between two lines of the same key and caller.
	tellEvery = time.Minute
	// lookEvery is how often it is looked for lines that are due.
	lookEvery = time.Second
	// maxCallers is how many pairs of a key and an address are told apart, and how many
	// keys beyond those.
	maxCallers = 1000
	// others is the address of callers beyond.
	others = "others"
)

// Refusals tells the audit log who calls with keys that are dead. Safe for concurrent
// use.
type Refusals struct {
	log *audit.Log

	mu sync.Mutex
	// tallies maps caller → what was counted, of at most maxCallers.
	tallies map[caller]*tally
	// beyond maps key → what was counted of callers that have no tally, of at most
	// maxCallers.
	beyond map[apikey.Digest]*tally
	// rest is what was counted of keys that have none either.
	rest tally
}

// caller is somebody with a key.
type caller struct {
	key     apikey.Digest
	address netip.Addr
}

// tally is what was counted of one caller since its last line.
type tally struct {
	entry audit.Entry
	// next is when there may be a line.
	next time.Time
}

// NewRefusals makes a Refusals that writes to a log.
func NewRefusals(log *audit.Log) *Refusals {
	return &Refusals{
		log: log, tallies: map[caller]*tally{}, beyond: map[apikey.Digest]*tally{},
		rest: tally{entry: audit.Entry{Event: audit.Denied, Address: others}},
	}
}

// Refused notes that somebody was turned away because a key is dead: why says of
// what. The zero address is one that is not known. The record is only read.
func (f *Refusals) Refused(r *apikey.Record, why string, from netip.Addr, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.tallyLocked(r, from)
	if t.entry.Count == 0 {
		t.entry.Since = at
	}
	t.entry.Count++
	t.entry.Note = why
}

// tallyLocked is that of a caller, or one that it shares where there is no room.
func (f *Refusals) tallyLocked(r *apikey.Record, from netip.Addr) *tally {
	who := caller{r.Digest, from}
	if t := f.tallies[who]; t != nil {
		return t
	}
	if len(f.tallies) < maxCallers {
		t := newTally(r, address(from))
		f.tallies[who] = t
		return t
	}
	if t := f.beyond[r.Digest]; t != nil {
		return t
	}
	if len(f.beyond) == maxCallers {
		return &f.rest
	}
	t := newTally(r, others)
	f.beyond[r.Digest] = t
	return t
}

// address is what a line says of an address.
func address(from netip.Addr) string {
	if !from.IsValid() {
		return "unknown"
	}
	return from.String()
}

func newTally(r *apikey.Record, address string) *tally {
	return &tally{entry: audit.Entry{
		Event:     audit.Denied,
		Namespace: r.Owner.Namespace, Name: r.Owner.Name, UID: r.Owner.UID,
		KeyID: r.Digest.ID(), Serial: r.Serial,
		Policy:  r.Policy.Namespace + "/" + r.Policy.Name,
		Address: address,
	}}
}

// Run writes lines until ctx ends, and then those that are left.
func (f *Refusals) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ticker.C:
			f.tell(ctx, false)
		case <-ctx.Done():
		}
	}
	f.tell(context.WithoutCancel(ctx), true)
	return nil
}

// tell writes the lines that are due, or all.
func (f *Refusals) tell(ctx context.Context, all bool) {
	for _, entry := range f.due(time.Now(), all) {
		f.log.Write(ctx, entry)
	}
}

// due takes the lines that are due, and forgets who has not called for as long as a
// line waits.
func (f *Refusals) due(now time.Time, all bool) (lines []audit.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for who, t := range f.tallies {
		if t.over(now, all, &lines) {
			delete(f.tallies, who)
		}
	}
	for key, t := range f.beyond {
		if t.over(now, all, &lines) {
			delete(f.beyond, key)
		}
	}
	f.rest.over(now, all, &lines)
	return lines
}

// over appends the line of a tally if it is due, and reports whether the tally is not
// needed any more.
func (t *tally) over(now time.Time, all bool, lines *[]audit.Entry) bool {
	switch {
	case now.Before(t.next) && !all:
		return false
	case t.entry.Count == 0:
		return true
	}
	*lines = append(*lines, t.entry)
	t.entry.Count, t.next = 0, now.Add(tellEvery)
	return false
}
