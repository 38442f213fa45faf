package ratelimit

import (
	"sync"
	"time"
)

const (
	// breakAfter is the number of failures in a row after which Redis is taken for
	// down. One may be a lost packet, which is not worth denying everybody.
	breakAfter = 5
	// breakFor is how long a Redis that is down is left alone between two probes.
	breakFor = 250 * time.Millisecond
)

// breaker keeps requests from waiting for a Redis that is down: after breakAfter
// failures in a row only one request each breakFor asks it, until one gets an
// answer. Safe for concurrent use.
type breaker struct {
	now func() time.Time

	mu sync.Mutex
	// failures in a row.
	failures int
	// probeAt is when the next request may ask while Redis is down.
	probeAt time.Time
}

// ask reports whether a request may ask Redis.
func (b *breaker) ask() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakAfter {
		return true
	}
	now := b.now()
	if now.Before(b.probeAt) {
		return false
	}
	b.probeAt = now.Add(breakFor)
	return true
}

// succeeded takes note of an answer. It reports whether Redis was down before.
func (b *breaker) succeeded() (recovered bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	recovered = b.failures >= breakAfter
	b.failures = 0
	return recovered
}

// failed takes note of a failure. It reports whether that makes Redis down.
func (b *breaker) failed() (broke bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	if b.failures >= breakAfter {
		b.probeAt = b.now().Add(breakFor)
	}
	return b.failures == breakAfter
}
