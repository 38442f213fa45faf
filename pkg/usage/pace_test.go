package usage

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: of writes that take any time to arrive, and any to be answered, none of a
// second's are more than there may be where they arrive.
func TestPace(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, perSecond := range []int{1, 2, 20, 333} {
		p, now := newPace(perSecond), time.Unix(1_800_000_000, 0)
		start := now
		var arrived []time.Time
		for range 100 * perSecond {
			if next := p.next(); next.After(now) {
				now = next
			}
			p.begin(now)
			there := time.Duration(r.Int64N(int64(2*time.Second) / int64(perSecond)))
			arrived = append(arrived, now.Add(there))
			now = now.Add(there + time.Duration(r.Int64N(int64(time.Second)/int64(5*perSecond))))
			p.end(now)
			if r.IntN(perSecond*3) == 0 {
				now = now.Add(time.Duration(r.Int64N(int64(3 * time.Second)))) // nothing to write
			}
		}
		if most := busiest(arrived); most > perSecond {
			t.Errorf("%d arrived within a second, there may be %d", most, perSecond)
		}
		if took := now.Sub(start); took > 400*time.Second {
			t.Errorf("100 seconds' worth at %d a second took %s", perSecond, took)
		}
	}
}

// turnstile lets one through at a time, and the next one in at once.
type turnstile chan struct{}

func (s turnstile) Take(ctx context.Context, f func(context.Context)) error {
	select {
	case s <- struct{}{}:
		f(ctx)
		<-s
	case <-ctx.Done():
	}
	return nil
}

// TestWritersTakeTurns: also where one replica follows another, no second has more
// writes than there may be, and each gets its turns.
func TestWritersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink, turns := newSink(), make(turnstile, 1)
		var collectors []*Collector
		for replica := range 3 {
			c := NewCollector(1000)
			collectors = append(collectors, c)
			for i, key := range names(700) {
				c.Used(recordOf(key, uint64(replica)), time.Now().Add(time.Duration(i)))
			}
			o := options(c, sink)
			o.Turns = turns
			stop := run(t, o, func(w *Writer) { w.turn = 4 * time.Second })
			defer stop()
		}
		time.Sleep(30 * time.Second)
		for replica, c := range collectors {
			if left := c.pending.Load(); left == 700 {
				t.Errorf("replica %d had no turn", replica)
			}
		}
		time.Sleep(3 * time.Minute)
		for replica, c := range collectors {
			if left := c.pending.Load(); left > 0 {
				t.Errorf("replica %d has %d left", replica, left)
			}
		}
		sink.mu.Lock()
		defer sink.mu.Unlock()
		if most := busiest(sink.begun); most > 20 {
			t.Errorf("%d writes in a second", most)
		}
	})
}
