package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// Bounds of limits.
const (
	// MaxLimits is how many limits a key can have at once.
	MaxLimits = 8
	// MaxRequests is the largest number of requests in a window.
	MaxRequests = math.MaxUint32
	// MinPer and MaxPer are the shortest and the longest window.
	MinPer = time.Second
	MaxPer = 366 * 24 * time.Hour
)

// Limit allows a number of requests in each window of a length.
type Limit struct {
	// Requests that a window has room for: 1 to MaxRequests.
	Requests int64
	// Per is how long a window lasts: MinPer to MaxPer, in whole milliseconds. It is
	// also what a key's window is known by: a limit with another Requests and the
	// same Per goes on with the window as it is, so that a plan raised or lowered
	// neither forgets what was used nor counts it anew.
	Per time.Duration
}

// Window is the state of a key's window after a request.
type Window struct {
	// Limit that the window is judged by.
	Limit Limit
	// Remaining requests of cost 1 that it has room for.
	Remaining int64
	// Reset is the time until the window ends, more than 0 and at most Per. It is Per
	// for a window that no request has opened yet.
	Reset time.Duration
}

// Result is what became of a request.
type Result struct {
	// Allowed: every window had room for the request, and it was charged to all.
	Allowed bool
	// Windows of the limits, in their order.
	Windows []Window
	// RetryAfter is the time until the longest of the windows without room ends; 0
	// when Allowed. The same request is then let through if nothing else used the
	// key, and not a moment earlier. A cost above a limit's Requests is never let
	// through; RetryAfter is that of its window all the same.
	RetryAfter time.Duration
}

// Limiter counts the requests of keys.
type Limiter interface {
	// Take asks for a request of a key under limits, and charges its cost if it is
	// allowed. The key is opaque; it is not empty. The limits pass [CheckLimits]; with
	// none, all is allowed and nothing is counted. The cost is at least 1.
	//
	// An error says that nobody can tell whether the key has room; whether the
	// request was charged is then unknown. The caller decides what that means.
	Take(ctx context.Context, key string, limits []Limit, cost int64) (Result, error)
}

// CheckLimits returns an error where limits are not what [Limiter.Take] counts by:
// one of them is out of bounds, two have the same Per, or there are too many.
func CheckLimits(limits []Limit) error {
	if len(limits) > MaxLimits {
		return fmt.Errorf("there are %d limits: leave %d at most", len(limits), MaxLimits)
	}
	for i, limit := range limits {
		switch {
		case limit.Requests < 1 || limit.Requests > MaxRequests:
			return fmt.Errorf("a limit of %d requests: choose 1 to %d", limit.Requests, int64(MaxRequests))
		case limit.Per < MinPer || limit.Per > MaxPer || limit.Per%time.Millisecond != 0:
			return fmt.Errorf("a limit per %s: choose whole milliseconds from %s to %s", limit.Per, MinPer, MaxPer)
		}
		for _, other := range limits[:i] {
			if other.Per == limit.Per {
				return fmt.Errorf("two limits per %s: leave the lower one", limit.Per)
			}
		}
	}
	return nil
}

// check returns an error where a request can't be counted.
func check(key string, limits []Limit, cost int64) error {
	switch {
	case key == "":
		return errors.New("count a request: the key is empty")
	case cost < 1:
		return fmt.Errorf("count a request: its cost is %d, less than 1", cost)
	}
	if err := CheckLimits(limits); err != nil {
		return fmt.Errorf("count a request: %w", err)
	}
	return nil
}

// RetryAfterSeconds is a wait as the header Retry-After has it (RFC 9110, 10.2.3):
// in whole seconds, rounded up, at least 1.
func RetryAfterSeconds(wait time.Duration) int {
	return max(1, int((wait+time.Second-1)/time.Second))
}
