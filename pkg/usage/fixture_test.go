package usage

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/test/apiserver"
)

func TestMain(m *testing.M) { apiserver.Main(m) }

// recordOf is the record of a token, a number, of an APIKey.
func recordOf(name string, token uint64) *apikey.Record {
	r := &apikey.Record{
		Owner:  apikey.Ref{Namespace: "acme", Name: name, UID: "uid-" + name},
		Policy: apikey.Ref{Namespace: "platform", Name: "stepsies", UID: "uid-stepsies"}, Serial: 1,
	}
	binary.BigEndian.PutUint64(r.Digest[:], token)
	return r
}

// written is one change that a fixedSink took or refused.
type written struct {
	Name string
	// Uses maps token → minutes after the first one of the test.
	Uses map[uint64]int64
	// Last: lastUsedAt was written too.
	Last bool
}

// fixedSink remembers what it is given, by a clock that a test may hold.
type fixedSink struct {
	epoch int64
	// answer, if set, says what a write returns.
	answer func(Change) error
	// takes is how long a write takes.
	takes time.Duration

	mu     sync.Mutex
	writes []written
	begun  []time.Time
}

func newSink() *fixedSink { return &fixedSink{epoch: time.Now().Unix() / 60} }

func (s *fixedSink) Put(ctx context.Context, c Change) error {
	s.mu.Lock()
	w := written{Name: c.Owner.Name, Uses: map[uint64]int64{}, Last: !c.KeepLast}
	for _, u := range c.Uses {
		w.Uses[u.ID] = u.Minute - s.epoch
	}
	s.writes, s.begun = append(s.writes, w), append(s.begun, time.Now())
	answer := s.answer
	s.mu.Unlock()
	if s.takes > 0 {
		select {
		case <-time.After(s.takes):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if answer != nil {
		return answer(c)
	}
	return nil
}

// all takes the writes so far.
func (s *fixedSink) all() []written {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.writes
	s.writes = nil
	return out
}

// busiest is the most writes that began within a second.
func busiest(begun []time.Time) (most int) {
	first := 0
	for i, at := range begun {
		for !begun[first].After(at.Add(-time.Second)) {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}

// always is a turn that is always there.
type always struct{}

func (always) Take(ctx context.Context, f func(context.Context)) error {
	f(ctx)
	return nil
}

// options write to a sink, alone.
func options(c *Collector, sink Sink) WriterOptions {
	return WriterOptions{
		Collector: c, Sink: sink, Turns: always{}, PerSecond: 20, Interval: time.Minute, FlushTimeout: 5 * time.Second,
		Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	}
}

// run runs a Writer until stop is called, which waits for its end.
func run(tb testing.TB, o WriterOptions, change ...func(*Writer)) (stop func()) {
	tb.Helper()
	w, err := NewWriter(o)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range change {
		f(w)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Errorf("the writer ended: %v", err)
		}
	})
}

// names are those of n APIKeys.
func names(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("key-%05d", i))
	}
	return out
}
