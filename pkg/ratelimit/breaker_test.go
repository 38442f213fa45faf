package ratelimit

import (
	"testing"
	"time"
)

// asked returns how many of n questions in a row the breaker lets through.
func asked(b *breaker, n int) (let int) {
	for range n {
		if b.ask() {
			let++
		}
	}
	return let
}

func TestBreaker(t *testing.T) {
	c := newClock()
	b := &breaker{now: c.Now}
	fail := func(n int) (broke bool) {
		for range n {
			broke = b.failed() || broke
		}
		return broke
	}

	if fail(breakAfter-1) || asked(b, 10) != 10 {
		t.Error("it broke too early")
	}
	if b.succeeded() {
		t.Error("it recovered without having been broken")
	}
	if fail(breakAfter-1) || asked(b, 10) != 10 {
		t.Error("failures before a success counted")
	}
	if !fail(1) {
		t.Error("it does not tell that it broke")
	}
	if got := asked(b, 10); got != 0 {
		t.Errorf("%d questions were let through at once, want none", got)
	}
	c.advance(breakFor)
	for range 3 {
		if got := asked(b, 10); got != 1 {
			t.Errorf("%d probes, want 1", got)
		}
		c.advance(breakFor - 1)
		if got := asked(b, 10); got != 0 {
			t.Errorf("%d probes before their time, want none", got)
		}
		c.advance(1)
	}
	if fail(1) {
		t.Error("it tells again that it broke")
	}
	if got := asked(b, 10); got != 0 {
		t.Errorf("%d questions were let through after a probe failed, want none", got)
	}
	if !b.succeeded() || b.succeeded() {
		t.Error("it does not tell once that it recovered")
	}
	if got := asked(b, 10); got != 10 {
		t.Errorf("%d of 10 questions were let through after an answer", got)
	}
	if fail(breakAfter-1) || !fail(1) {
		t.Error("it does not break again like the first time")
	}
	c.advance(time.Hour)
	if got := asked(b, 10); got != 1 {
		t.Errorf("%d probes after an hour, want 1", got)
	}
}
