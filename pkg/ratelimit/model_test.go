package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is the slow and obvious limiter: it remembers every request that was let
// through, and goes through all of them to see what windows they opened.
type model struct{ charges []charge }

// charge is one request that was let through.
type charge struct {
	at   time.Time
	key  string
	cost int64
	pers []time.Duration
}

// window is a key's window of a length as of now: used and end, if one is open.
func (m *model) window(key string, length time.Duration, now time.Time) (used int64, end time.Time, open bool) {
	for _, c := range m.charges {
		if c.key != key || !slices.Contains(c.pers, length) {
			continue
		}
		if !open || !c.at.Before(end) {
			used, end, open = 0, c.at.Add(length), true
		}
		used += c.cost
	}
	return used, end, open && now.Before(end)
}

func (m *model) take(now time.Time, key string, limits []Limit, cost int64) Result {
	result := Result{Allowed: true}
	var pers []time.Duration
	for _, limit := range limits {
		used, end, open := m.window(key, limit.Per, now)
		w := Window{Limit: limit, Remaining: limit.Requests, Reset: limit.Per}
		if open {
			w.Remaining, w.Reset = max(0, limit.Requests-used), end.Sub(now)
		}
		if w.Remaining < cost {
			result.Allowed = false
			result.RetryAfter = max(result.RetryAfter, w.Reset)
		}
		result.Windows = append(result.Windows, w)
		pers = append(pers, limit.Per)
	}
	if result.Allowed {
		m.charges = append(m.charges, charge{now, key, cost, pers})
		for i := range result.Windows {
			result.Windows[i].Remaining -= cost
		}
	}
	return result
}

// walk is a random sequence of requests to a backend and to the model.
type walk struct {
	*testing.T
	*backend
	model  model
	random *rand.Rand
	prefix string
}

// step makes one request and compares what came of it.
func (w *walk) step(key string, limits []Limit, cost int64) Result {
	want := w.model.take(w.Now(), key, limits, cost)
	got := take(w, w.backend, w.prefix+key, limits, cost)
	equal(w, fmt.Sprintf("%s: cost %d under %v", key, cost, limits), want, got)
	return got
}

// limits are some limits of several lengths; many small numbers of requests, so
// that windows run out.
func (w *walk) limits() (limits []Limit) {
	for _, length := range []time.Duration{time.Second, 1500 * time.Millisecond, time.Minute, time.Hour} {
		if w.random.IntN(2) == 0 {
			limits = append(limits, per(1+w.random.Int64N(8), length))
		}
	}
	w.random.Shuffle(len(limits), func(i, j int) { limits[i], limits[j] = limits[j], limits[i] })
	return limits
}

// pass lets some time pass: often none, often up to the very end of some window.
func (w *walk) pass(last Result) {
	var d time.Duration
	switch w.random.IntN(6) {
	case 0:
		d = time.Duration(w.random.Int64N(int64(2 * time.Second)))
	case 1:
		d = time.Duration(w.random.Int64N(int64(2 * time.Minute)))
	case 2:
		if n := len(last.Windows); n > 0 {
			d = last.Windows[w.random.IntN(n)].Reset + time.Duration(w.random.IntN(3)-1)*w.tick
		}
	}
	w.advance(d.Truncate(w.tick))
}

// wait holds a denial to its word: a second before the time told the request is
// still turned away, at that time it gets through.
func (w *walk) wait(denied Result, key string, limits []Limit, cost int64) {
	seconds := time.Duration(RetryAfterSeconds(denied.RetryAfter)) * time.Second
	w.advance(seconds - time.Second)
	if got := w.step(key, limits, cost); got.Allowed {
		w.Errorf("allowed %v after a denial for %v", seconds-time.Second, denied.RetryAfter)
	}
	w.advance(time.Second)
	if got := w.step(key, limits, cost); !got.Allowed {
		w.Errorf("denied %v after a denial for %v", seconds, denied.RetryAfter)
	}
}

// run makes n requests. It changes the limits now and then.
func (w *walk) run(n int) {
	limits := w.limits()
	for range n {
		if w.random.IntN(12) == 0 {
			limits = w.limits()
		}
		key, cost := string(rune('a'+w.random.IntN(3))), 1+w.random.Int64N(3)
		result := w.step(key, limits, cost)
		passable := !slices.ContainsFunc(limits, func(l Limit) bool { return cost > l.Requests })
		if !result.Allowed && passable && w.random.IntN(8) == 0 {
			w.wait(result, key, limits, cost)
		}
		w.pass(result)
		if w.Failed() {
			return
		}
	}
}

// TestModel compares each backend with the model on random sequences.
func TestModel(t *testing.T) {
	for kind, walks := range map[string]uint64{"memory": 100, "redis": 5} {
		t.Run(kind, func(t *testing.T) {
			b := backends[kind](t)
			for seed := range walks {
				w := &walk{T: t, backend: b, random: rand.New(rand.NewPCG(seed, 0)), prefix: fmt.Sprint(seed)}
				w.run(300)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}
