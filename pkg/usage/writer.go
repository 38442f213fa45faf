package usage

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// quiet is how long a turn begins with no write, so that a second holds no more
	// writes than there may be also where one replica follows another.
	quiet = time.Second
	// turnLength is after how long a replica lets another one write.
	turnLength = 30 * time.Second
	// betweenTurns is how long a replica then waits: longer than the others take to see
	// that it is their turn.
	betweenTurns = 2500 * time.Millisecond
	// writeTimeout bounds one write.
	writeTimeout = 10 * time.Second
	// maxRefusals is how often a key is tried that the API server does not take.
	maxRefusals = 3
	// firstBackoff and lastBackoff bound the wait after failures, one after another.
	firstBackoff, lastBackoff = time.Second, 30 * time.Second
)

// ErrGone is returned where there is no such APIKey.
var ErrGone = errors.New("the APIKey is gone")

// Refused is returned where the API server answered that it does not take a change.
type Refused struct {
	// Last: lastUsedAt would go back. Usage: that of a token would.
	Last, Usage bool
	// Err is what it said.
	Err error
}

// Error implements error.
func (r *Refused) Error() string { return r.Err.Error() }

// Unwrap returns what the API server said.
func (r *Refused) Unwrap() error { return r.Err }

// Sink takes changes.
type Sink interface {
	// Put writes a change. It returns ErrGone, a *Refused, or another error where it
	// may be tried again.
	Put(ctx context.Context, c Change) error
}

// Turns lets one replica write at a time.
type Turns interface {
	// Take waits for this one's turn, calls f in it, and gives the turn up when f
	// returns. It returns without a call when ctx ends before. The context of f ends with
	// ctx and when the turn is lost.
	Take(ctx context.Context, f func(context.Context)) error
}

// WriterOptions make a Writer. All are needed.
type WriterOptions struct {
	// Collector has what is to be written.
	Collector *Collector
	Sink      Sink
	Turns     Turns
	// PerSecond is how many writes there may be in any second, at least 1.
	PerSecond int
	// Interval is the least time between two writes of one APIKey.
	Interval time.Duration
	// FlushTimeout bounds what is still written once the context of Run has ended.
	FlushTimeout time.Duration
	Log          *slog.Logger
	Registerer   prometheus.Registerer
}

// Writer writes what a Collector has noted.
type Writer struct {
	WriterOptions
	writes *prometheus.CounterVec
	pace   *pace
	// turn is turnLength, or a test's.
	turn time.Duration
	// resting holds the keys that were just tried, in the order in which their rests end.
	resting list
	// failures, one after another.
	failures int
}

// NewWriter makes a Writer. The error is that of metrics which are registered
// already.
func NewWriter(o WriterOptions) (*Writer, error) {
	writes, err := newMetrics(o.Collector, o.Registerer)
	if err != nil {
		return nil, err
	}
	return &Writer{WriterOptions: o, writes: writes, pace: newPace(o.PerSecond), turn: turnLength}, nil
}

// Run writes until ctx ends, and then what is left, for as long as it may. A Writer
// runs once.
func (w *Writer) Run(ctx context.Context) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx)) // FlushTimeout longer than ctx
	defer end()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(w.FlushTimeout, end) })()
	for w.await(ctx, life) {
		if err := w.Turns.Take(life, func(turn context.Context) { w.write(ctx, turn) }); err != nil {
			return err
		}
		w.sleep(ctx, life, max(betweenTurns, w.backoff()))
	}
	if left := w.Collector.pending.Load(); left > 0 {
		w.Log.Warn("the last use of some APIKeys was not written", "apikeys", left)
	}
	return nil
}

// await waits until there is something to write, and reports whether there is before
// life ends, or at all once ctx has ended.
func (w *Writer) await(ctx, life context.Context) bool {
	for life.Err() == nil {
		w.rouse(ctx)
		if !w.Collector.queue.empty() {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		var rested <-chan time.Time
		if w.resting.head != nil {
			rested = time.After(time.Until(w.resting.head.until))
		}
		select {
		case <-w.Collector.queue.filled:
		case <-rested:
		case <-ctx.Done():
		}
	}
	return false
}

// rouse ends the rests that are over; once ctx has ended, all.
func (w *Writer) rouse(ctx context.Context) {
	now := time.Now()
	for w.resting.head != nil && (ctx.Err() != nil || !now.Before(w.resting.head.until)) {
		w.Collector.rouse(w.resting.pop(), now)
	}
}

// write writes what is pending until its time is up or turn ends, nothing is left, or
// the API server fails. Once ctx has ended, no key rests.
func (w *Writer) write(ctx, turn context.Context) {
	end := time.Now().Add(w.turn)
	if !w.sleepIn(turn, quiet) {
		return
	}
	for time.Now().Before(end) {
		if w.rouse(ctx); !w.awaitPace(turn) {
			return
		}
		k, change := w.Collector.take()
		if k == nil {
			return
		}
		w.put(turn, k, change)
		k.until = time.Now().Add(w.Interval)
		w.resting.push(k)
		if w.backoff() > 0 {
			return
		}
	}
}

// put writes a key's change, or as much of it as the API server takes.
func (w *Writer) put(ctx context.Context, k *key, change Change) {
	if len(change.Uses) == 0 {
		w.Collector.settle(k, change)
		return
	}
	for todo := []Change{change}; len(todo) > 0; todo = todo[1:] {
		if !w.awaitPace(ctx) {
			return
		}
		w.pace.begin(time.Now())
		bounded, cancel := context.WithTimeout(ctx, writeTimeout)
		err := w.Sink.Put(bounded, todo[0])
		cancel()
		w.pace.end(time.Now())
		todo = append(todo, w.judge(k, todo[0], err)...)
	}
}

// judge draws the consequences of an attempt, and returns what is still to be tried.
func (w *Writer) judge(k *key, change Change, err error) (rest []Change) {
	var refused *Refused
	switch {
	case err == nil:
		w.done(k, change, resultWritten)
	case errors.Is(err, ErrGone):
		w.done(k, change, resultGone)
	case errors.As(err, &refused) && (refused.Last || refused.Usage):
		if rest = change.narrow(refused); rest == nil {
			w.done(k, change, resultOlder)
		}
	case refused != nil:
		w.failed(resultRefused, err)
		if k.refusals++; k.refusals >= maxRefusals {
			w.Collector.settle(k, change)
			k.refusals = 0
		}
	default:
		w.failed(resultFailed, err)
	}
	return rest
}

func (w *Writer) done(k *key, change Change, result string) {
	w.writes.WithLabelValues(result).Inc()
	w.Collector.settle(k, change)
	k.refusals = 0
	if w.failures > 1 {
		w.Log.Info("the last use of APIKeys is written again")
	}
	w.failures = 0
}

// failed counts a failure. The first one may be a single APIKey's own; the second
// holds everything up, and is told.
func (w *Writer) failed(result string, err error) {
	w.writes.WithLabelValues(result).Inc()
	if w.failures++; w.failures == 2 {
		w.Log.Warn("the last use of APIKeys cannot be written; it is kept and tried again", "error", err)
	}
}

// backoff is how long to wait after failures; 0: not at all.
func (w *Writer) backoff() time.Duration {
	if w.failures < 2 {
		return 0
	}
	return min(firstBackoff<<min(w.failures-2, 10), lastBackoff)
}

// awaitPace waits until the next write may begin, and reports whether ctx lasts.
func (w *Writer) awaitPace(ctx context.Context) bool {
	return w.sleepIn(ctx, time.Until(w.pace.next()))
}

// sleepIn waits, and reports whether ctx lasts.
func (w *Writer) sleepIn(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// sleep waits between turns; once ctx has ended, only for what is left.
func (w *Writer) sleep(ctx, life context.Context, d time.Duration) {
	switch {
	case ctx.Err() == nil:
		w.sleepIn(ctx, d)
	case w.Collector.pending.Load() > 0:
		w.sleepIn(life, d)
	}
}
