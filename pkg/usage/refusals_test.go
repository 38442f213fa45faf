package usage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/pkg/audit"
)

// refused is a line of the audit log.
type refused struct {
	Msg, Event, Namespace, Name, UID, KeyID, Policy, Address, Note string
	Serial, Count                                                  int64
	Since                                                          time.Time
}

// auditLog is an audit log that can be read.
type auditLog struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *auditLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// lines takes the lines so far, in the order of names and addresses.
func (l *auditLog) lines(t *testing.T) (out []refused) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.all.Bytes()) {
		var r refused
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	l.all.Reset()
	slices.SortFunc(out, func(a, b refused) int { return strings.Compare(a.Name+" "+a.Address, b.Name+" "+b.Address) })
	return out
}

// runRefusals runs a Refusals until stop is called.
func runRefusals(t *testing.T) (f *Refusals, log *auditLog, stop func()) {
	t.Helper()
	log = &auditLog{}
	f = NewRefusals(audit.New(slog.New(slog.NewJSONHandler(log, nil))))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	return f, log, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// held is how many callers and keys are remembered.
func (f *Refusals) held() (callers, keys int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.tallies), len(f.beyond)
}

// TestRefusals: each key and caller gets a line soon, and then one a minute, which
// counts all calls.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log, stop := runRefusals(t)
		home, away := netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::1")
		start := time.Now()
		line := func(name, address, note string, count int64, since time.Duration) refused {
			return refused{
				Msg: "audit", Event: "denied", Namespace: "acme", Name: name, UID: "uid-" + name, KeyID: "0000000000000001",
				Policy: "platform/stepsies", Serial: 1, Address: address, Note: note, Count: count, Since: start.Add(since).UTC(),
			}
		}
		call := func(name, why string, from netip.Addr) { f.Refused(recordOf(name, 1), why, from, time.Now()) }
		for range 5 {
			call("a", "revoked", home)
		}
		call("a", "revoked", away)
		time.Sleep(1500 * time.Millisecond)
		want := []refused{line("a", "2001:db8::1", "revoked", 1, 0), line("a", "203.0.113.7", "revoked", 5, 0)}
		if diff := cmp.Diff(want, log.lines(t)); diff != "" {
			t.Errorf("at first: %s", diff)
		}
		for range 50 {
			call("a", "revoked", home)
			time.Sleep(time.Second)
		}
		if diff := cmp.Diff([]refused(nil), log.lines(t)); diff != "" {
			t.Errorf("within the minute: %s", diff)
		}
		time.Sleep(10 * time.Second)
		if diff := cmp.Diff([]refused{line("a", "203.0.113.7", "revoked", 50, 1500*time.Millisecond)}, log.lines(t)); diff != "" {
			t.Errorf("after it: %s", diff)
		}
		time.Sleep(2 * time.Minute)
		if callers, _ := f.held(); callers != 0 {
			t.Errorf("%d callers are remembered", callers)
		}
		call("a", "expired", netip.Addr{})
		stop()
		if diff := cmp.Diff([]refused{line("a", "unknown", "expired", 1, time.Since(start))}, log.lines(t)); diff != "" {
			t.Errorf("at the end: %s", diff)
		}
	})
}

// TestRefusalsAreBounded: callers beyond the bound share a line for each key, and keys
// beyond it share one.
func TestRefusalsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, log, stop := runRefusals(t)
		for i := range 3 * maxCallers { // one key, from everywhere
			f.Refused(recordOf("a", 1), "revoked", netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), time.Now())
		}
		for i := range uint64(2 * maxCallers) {
			f.Refused(recordOf(fmt.Sprint("b-", i), 2+i), "rotated", netip.MustParseAddr("203.0.113.7"), time.Now())
		}
		if callers, keys := f.held(); callers != maxCallers || keys != maxCallers {
			t.Errorf("%d callers and %d keys are remembered", callers, keys)
		}
		time.Sleep(2 * time.Second)
		got, total := map[string]int64{}, int64(0)
		lines := log.lines(t)
		for _, line := range lines {
			total += line.Count
			if line.Address == others {
				got[line.Name] += line.Count
			}
		}
		if len(lines) != 2*maxCallers+1 || total != 5*maxCallers || got["a"] != 2*maxCallers || got["b-0"] != 1 || got[""] != maxCallers+1 {
			t.Errorf("%d lines of %d calls, a: %d, b-0: %d, the rest: %d", len(lines), total, got["a"], got["b-0"], got[""])
		}
		stop()
	})
}
