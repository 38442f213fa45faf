package ratelimit

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestRedisTakesOneRoundTrip(t *testing.T) {
	s := startRedis(t)
	r := newTestRedis(t, RedisOptions{URL: s.url})
	limits := []Limit{per(100, time.Second), per(100, time.Minute), per(100, time.Hour)}
	for range 20 {
		take(t, r, "a", limits, 1)
	}
	// The first finds that the server does not have the script yet and sends it.
	for command, want := range map[string]int{"evalsha": 20, "eval": 1} {
		if got := s.calls(command); got != want {
			t.Errorf("%s: %d calls for 20 requests, want %d", command, got, want)
		}
	}
}

func TestRedisSendsAScriptThatTheServerLost(t *testing.T) {
	s := startRedis(t)
	r := newTestRedis(t, RedisOptions{URL: s.url})
	take(t, r, "a", hour(5), 1)
	if err := s.client().ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if got := take(t, r, "a", hour(5), 1).Windows[0].Remaining; got != 3 {
		t.Errorf("%d remaining, want 3", got)
	}
}

// TestRedisValues looks at what is kept in Redis, and for how long.
func TestRedisValues(t *testing.T) {
	s := startRedis(t)
	r, client := newTestRedis(t, RedisOptions{URL: s.url + "?db=3", Prefix: "test:"}), s.client()
	if err := client.Do(t.Context(), "select", 3).Err(); err != nil {
		t.Fatal(err)
	}
	take(t, r, "long", both(5, 5), 1)
	take(t, r, "short", second(5), 1)
	for key, last := range map[string]time.Duration{"test:{long}": time.Hour, "test:{short}": time.Second} {
		ttl := client.PTTL(t.Context(), key).Val()
		if ttl <= last-10*time.Second || ttl > last+2*time.Second || ttl <= 0 {
			t.Errorf("%s expires in %v, want about %v", key, ttl, last)
		}
	}
	eventually(t, func() error {
		if keys := client.Keys(t.Context(), "*").Val(); len(keys) != 1 {
			return fmt.Errorf("%v are kept", keys)
		}
		return nil
	})
}

// TestRedisRealTime waits out a window by the server's own clock.
func TestRedisRealTime(t *testing.T) {
	r := newTestRedis(t, RedisOptions{URL: startRedis(t).url})
	var begin, opened time.Time // before and after the window was opened
	var denied Result
	eventually(t, func() error {
		asked := time.Now()
		if denied = take(t, r, "a", second(1), 1); denied.Allowed {
			begin, opened = asked, time.Now()
			return errors.New("no second request within the window yet")
		}
		return nil
	})
	if begin.IsZero() || denied.RetryAfter > time.Second || denied.RetryAfter <= 0 {
		t.Fatalf("got %+v after %v", denied, time.Since(begin))
	}
	eventually(t, func() error {
		if !take(t, r, "a", second(1), 1).Allowed {
			return errors.New("still limited")
		}
		return nil
	})
	if elapsed := time.Since(begin); elapsed < time.Second {
		t.Errorf("allowed after %v, before the window's end", elapsed)
	}
	if elapsed := time.Since(opened); elapsed > denied.RetryAfter+10*time.Second {
		t.Errorf("allowed only after %v", elapsed)
	}
}

// TestRedisClockGoesBack fails over to a server whose clock is an hour behind.
func TestRedisClockGoesBack(t *testing.T) {
	b := newClockedRedis(t)
	take(t, b, "a", hour(1), 1)
	b.advance(-time.Microsecond)
	equal(t, "a moment behind", allowed(Window{per(1, time.Hour), 0, time.Hour}), take(t, b, "a", hour(1), 1))
	b.advance(-time.Hour)
	equal(t, "an hour behind", allowed(Window{per(1, time.Hour), 0, time.Hour}), take(t, b, "a", hour(1), 1))
	b.advance(time.Hour - b.tick)
	equal(t, "at its end", limited(b.tick, Window{per(1, time.Hour), 0, b.tick}), take(t, b, "a", hour(1), 1))
}

// TestRedisForeignValues finds values that are not its own in the place of its own.
func TestRedisForeignValues(t *testing.T) {
	s := startRedis(t)
	r, client := newTestRedis(t, RedisOptions{URL: s.url}), s.client()
	for value, want := range map[string]int64{"": 4, "nonsense": 4, "3600000000 1 x": 4, "3600000000 99999999999999999999 5": 4} {
		if err := client.Set(t.Context(), r.prefix+"{a}", value, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if got := take(t, r, "a", hour(5), 1).Windows[0].Remaining; got != want {
			t.Errorf("%q: %d remaining, want %d", value, got, want)
		}
	}
	if err := client.LPush(t.Context(), r.prefix+"{list}", "x").Err(); err != nil {
		t.Fatal(err)
	}
	for range 2 * breakAfter {
		if _, err := r.Take(t.Context(), "list", hour(5), 1); !redis.HasErrorPrefix(errors.Unwrap(err), "WRONGTYPE") {
			t.Errorf("a list: got %v", err)
		}
	}
	take(t, r, "b", hour(5), 1) // one bad value stalls nobody else
}
