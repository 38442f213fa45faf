package ratelimit

import (
	"cmp"
	"fmt"
	"testing"
	"time"
)

// step is one request.
type step struct {
	// after the step before.
	after time.Duration
	// key "": "a"; cost 0: 1.
	key    string
	cost   int64
	limits []Limit
	want   Result
}

// windowTable holds for every backend.
var windowTable = map[string][]step{
	"one a second": {
		{limits: second(1), want: allowed(Window{per(1, time.Second), 0, time.Second})},
		{limits: second(1), want: limited(time.Second, Window{per(1, time.Second), 0, time.Second})},
		{after: time.Second, limits: second(1), want: allowed(Window{per(1, time.Second), 0, time.Second})},
	},
	"the window opens at the first request, not with the clock": {
		{after: 700 * time.Millisecond, limits: second(2), want: allowed(Window{per(2, time.Second), 1, time.Second})},
		{after: 900 * time.Millisecond, limits: second(2), want: allowed(Window{per(2, time.Second), 0, 100 * time.Millisecond})},
		{after: 99 * time.Millisecond, limits: second(2), want: limited(time.Millisecond, Window{per(2, time.Second), 0, time.Millisecond})},
		{after: time.Millisecond, limits: second(2), want: allowed(Window{per(2, time.Second), 1, time.Second})},
	},
	"a window that ended long ago is as good as none": {
		{limits: hour(1), want: allowed(Window{per(1, time.Hour), 0, time.Hour})},
		{after: 1000 * time.Hour, limits: hour(1), want: allowed(Window{per(1, time.Hour), 0, time.Hour})},
	},
	"a request that is turned away opens no window and charges none": {
		{limits: both(10, 1), want: allowed(Window{per(10, time.Second), 9, time.Second}, Window{per(1, time.Hour), 0, time.Hour})},
		{after: time.Minute, limits: both(10, 1), want: limited(59*time.Minute, Window{per(10, time.Second), 10, time.Second}, Window{per(1, time.Hour), 0, 59 * time.Minute})},
		{after: time.Minute, limits: both(10, 1), want: limited(58*time.Minute, Window{per(10, time.Second), 10, time.Second}, Window{per(1, time.Hour), 0, 58 * time.Minute})},
	},
	"of two windows without room the longer one counts": {
		{limits: both(1, 1), want: allowed(Window{per(1, time.Second), 0, time.Second}, Window{per(1, time.Hour), 0, time.Hour})},
		{limits: both(1, 1), want: limited(time.Hour, Window{per(1, time.Second), 0, time.Second}, Window{per(1, time.Hour), 0, time.Hour})},
	},
	"of two windows the one without room counts": {
		{limits: both(1, 5), want: allowed(Window{per(1, time.Second), 0, time.Second}, Window{per(5, time.Hour), 4, time.Hour})},
		{after: 250 * time.Millisecond, limits: both(1, 5), want: limited(750*time.Millisecond,
			Window{per(1, time.Second), 0, 750 * time.Millisecond}, Window{per(5, time.Hour), 4, time.Hour - 250*time.Millisecond})},
	},
	"a cost": {
		{cost: 7, limits: hour(10), want: allowed(Window{per(10, time.Hour), 3, time.Hour})},
		{cost: 4, limits: hour(10), want: limited(time.Hour, Window{per(10, time.Hour), 3, time.Hour})},
		{cost: 3, limits: hour(10), want: allowed(Window{per(10, time.Hour), 0, time.Hour})},
	},
	"a cost above the limit": {
		{cost: 11, limits: hour(10), want: limited(time.Hour, Window{per(10, time.Hour), 10, time.Hour})},
		{cost: 1<<63 - 1, limits: hour(10), want: limited(time.Hour, Window{per(10, time.Hour), 10, time.Hour})},
		{cost: 10, limits: hour(10), want: allowed(Window{per(10, time.Hour), 0, time.Hour})},
		{after: time.Hour, cost: 11, limits: hour(10), want: limited(time.Hour, Window{per(10, time.Hour), 10, time.Hour})},
	},
	"the largest limit": {
		{cost: MaxRequests, limits: hour(MaxRequests), want: allowed(Window{per(MaxRequests, time.Hour), 0, time.Hour})},
		{limits: hour(MaxRequests), want: limited(time.Hour, Window{per(MaxRequests, time.Hour), 0, time.Hour})},
	},
	"keys do not share": {
		{limits: hour(1), want: allowed(Window{per(1, time.Hour), 0, time.Hour})},
		{key: "b", after: time.Minute, limits: hour(1), want: allowed(Window{per(1, time.Hour), 0, time.Hour})},
		{key: "a}", limits: hour(1), want: allowed(Window{per(1, time.Hour), 0, time.Hour})},
		{key: "}", limits: hour(1), want: allowed(Window{per(1, time.Hour), 0, time.Hour})},
		{limits: hour(1), want: limited(59*time.Minute, Window{per(1, time.Hour), 0, 59 * time.Minute})},
	},
	"a limit that is raised goes on counting": {
		{cost: 2, limits: hour(2), want: allowed(Window{per(2, time.Hour), 0, time.Hour})},
		{after: time.Minute, limits: hour(5), want: allowed(Window{per(5, time.Hour), 2, 59 * time.Minute})},
	},
	"a limit that is lowered goes on counting": {
		{cost: 4, limits: hour(5), want: allowed(Window{per(5, time.Hour), 1, time.Hour})},
		{after: time.Minute, limits: hour(3), want: limited(59*time.Minute, Window{per(3, time.Hour), 0, 59 * time.Minute})},
		{limits: hour(5), want: allowed(Window{per(5, time.Hour), 0, 59 * time.Minute})},
	},
	"a limit that goes and comes back while its window is live goes on counting": {
		{limits: hour(1), want: allowed(Window{per(1, time.Hour), 0, time.Hour})},
		{limits: second(1), want: allowed(Window{per(1, time.Second), 0, time.Second})},
		{after: time.Minute, limits: second(1), want: allowed(Window{per(1, time.Second), 0, time.Second})},
		{limits: hour(1), want: limited(59*time.Minute, Window{per(1, time.Hour), 0, 59 * time.Minute})},
	},
	"the order of limits changes nothing but that of the windows": {
		{limits: both(10, 3), want: allowed(Window{per(10, time.Second), 9, time.Second}, Window{per(3, time.Hour), 2, time.Hour})},
		{limits: []Limit{per(3, time.Hour), per(10, time.Second)}, want: allowed(Window{per(3, time.Hour), 1, time.Hour}, Window{per(10, time.Second), 8, time.Second})},
	},
	"no limits": {
		{cost: 1 << 40, want: allowed()},
	},
}

func second(requests int64) []Limit { return []Limit{per(requests, time.Second)} }
func hour(requests int64) []Limit   { return []Limit{per(requests, time.Hour)} }
func both(inSecond, inHour int64) []Limit {
	return []Limit{per(inSecond, time.Second), per(inHour, time.Hour)}
}

func TestWindows(t *testing.T) {
	for kind, newBackend := range backends {
		for name, steps := range windowTable {
			t.Run(kind+"/"+name, func(t *testing.T) {
				b := newBackend(t)
				for i, s := range steps {
					b.advance(s.after)
					got := take(t, b, cmp.Or(s.key, "a"), s.limits, cmp.Or(s.cost, 1))
					equal(t, fmt.Sprintf("request %d", i), s.want, got)
				}
			})
		}
	}
}

// TestWindowEnds looks at the last moment of a window and at the first after it.
func TestWindowEnds(t *testing.T) {
	for kind, newBackend := range backends {
		for name, limits := range map[string][]Limit{
			"1/s":         second(1),
			"1/h":         hour(1),
			"10/s 1/h":    both(10, 1),
			"1/s 1000/h":  both(1, 1000),
			"1/366d":      {per(1, MaxPer)},
			"1/1001ms":    {per(1, 1001*time.Millisecond)},
			"1/s 1/m 1/h": {per(1, time.Second), per(1, time.Minute), per(1, time.Hour)},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				b := newBackend(t)
				take(t, b, "a", limits, 1)
				wait := take(t, b, "a", limits, 1).RetryAfter
				b.advance(wait - b.tick)
				if got := take(t, b, "a", limits, 1); got.Allowed || got.RetryAfter != b.tick {
					t.Errorf("%v before the end: got %+v", b.tick, got)
				}
				b.advance(b.tick)
				if got := take(t, b, "a", limits, 1); !got.Allowed {
					t.Errorf("at the end: got %+v", got)
				}
			})
		}
	}
}

// TestReplicasShareRedis uses one Redis from three clients.
func TestReplicasShareRedis(t *testing.T) {
	s := startRedis(t)
	var replicas []Limiter
	for range 3 {
		replicas = append(replicas, newTestRedis(t, RedisOptions{URL: s.url}))
	}
	for _, key := range []string{"a", "b"} {
		if got := takeMany(t, replicas, 400, key, hour(100)); got != 100 {
			t.Errorf("key %s: %d of 400 allowed, want 100", key, got)
		}
	}
}

// TestMemoryIsExact asks for more than there is, from many goroutines.
func TestMemoryIsExact(t *testing.T) {
	m := newTestMemory(t, Options{})
	for _, key := range []string{"a", "b"} {
		if got := takeMany(t, []Limiter{m}, 4000, key, []Limit{per(1000, time.Hour), per(3000, 2*time.Hour)}); got != 1000 {
			t.Errorf("key %s: %d of 4000 allowed, want 1000", key, got)
		}
	}
}
