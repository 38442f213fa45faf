package authz

import (
	"context"
	"strconv"
	"time"

	"keygate.dev/keygate/pkg/policy"
	"keygate.dev/keygate/pkg/ratelimit"
)

// take counts a request that is allowed but for its key's limits. All tokens of an
// APIKey are counted together, under its uid, and those of nobody else.
func (d *Decider) take(ctx context.Context, v *Verdict, plan string) (policy.Reason, Detail) {
	limits, cost := v.Policy.Limits(plan), v.Rule.Cost()
	if len(limits) == 0 || cost == 0 {
		return Allowed, ""
	}
	counted := make([]ratelimit.Limit, len(limits))
	for i, limit := range limits {
		counted[i] = ratelimit.Limit(limit)
	}
	quota, err := d.Limiter.Take(ctx, v.Record.Owner.UID, counted, cost)
	switch {
	case err == nil && quota.Allowed:
		v.Quota = quota
		return Allowed, ""
	case err == nil:
		v.Quota = quota
		return policy.RateLimited, ""
	case ctx.Err() != nil:
		return policy.Unavailable, DetailCancelled
	case v.Policy.FailOpen():
		return Allowed, DetailLimitUnknown
	}
	return policy.Unavailable, DetailLimit
}

// exhausted is the number of requests of the window that a denied caller waits for,
// "" if there is none.
func exhausted(q *ratelimit.Result) string {
	for _, w := range q.Windows {
		if w.Reset == q.RetryAfter {
			return strconv.FormatInt(w.Limit.Requests, 10)
		}
	}
	return ""
}

// Names and values of the header fields RateLimit-Policy and RateLimit
// (draft-ietf-httpapi-ratelimit-headers-10): lists of structured fields (RFC 9651)
// with one item for each window, which is named by its length.
//
//	RateLimit-Policy: "1s";q=10;w=1, "1h";q=1000;w=3600
//	RateLimit: "1s";r=9;t=1, "1h";r=641;t=1204
const (
	rateLimitPolicyHeader = "ratelimit-policy"
	rateLimitHeader       = "ratelimit"
)

// rateLimitPolicy says which windows there are: the quota and the length of each,
// in seconds.
func rateLimitPolicy(windows []ratelimit.Window) string {
	out := make([]byte, 0, 32*len(windows))
	for i, w := range windows {
		out = appendWindow(out, i, w.Limit.Per)
		out = appendParameter(out, 'q', w.Limit.Requests)
		out = appendParameter(out, 'w', seconds(w.Limit.Per))
	}
	return string(out)
}

// rateLimit says how much is left of each window, and for how long it lasts, in
// seconds.
func rateLimit(windows []ratelimit.Window) string {
	out := make([]byte, 0, 32*len(windows))
	for i, w := range windows {
		out = appendWindow(out, i, w.Limit.Per)
		out = appendParameter(out, 'r', w.Remaining)
		out = appendParameter(out, 't', seconds(w.Reset))
	}
	return string(out)
}

// appendWindow begins the i-th item of a list: the name of a window, which is its
// length in the largest unit that fits, as in "90s", "1m", "24h".
func appendWindow(dst []byte, i int, per time.Duration) []byte {
	if i > 0 {
		dst = append(dst, ", "...)
	}
	n, unit := seconds(per), byte('s')
	switch {
	case n%3600 == 0:
		n, unit = n/3600, 'h'
	case n%60 == 0:
		n, unit = n/60, 'm'
	}
	dst = strconv.AppendInt(append(dst, '"'), n, 10)
	return append(dst, unit, '"')
}

// appendParameter appends a parameter of an item.
func appendParameter(dst []byte, name byte, value int64) []byte {
	return strconv.AppendInt(append(dst, ';', name, '='), value, 10)
}

// seconds rounds up: who waits for as long is not too early.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
