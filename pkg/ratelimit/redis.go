package ratelimit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

//go:embed take.lua
var takeScript string

// errDown is the answer while Redis is down.
var errDown = errors.New("Redis did not answer and is left alone for a moment")

// Redis counts in a Redis (5 or later), or what speaks its protocol and runs its
// scripts, for all that use the same server and prefix. Safe for concurrent use.
//
// A key's windows are one value, which one script reads and writes: a decision is
// one round trip, exact however many ask at once, and works in a Redis Cluster. The
// clock is the server's, so that replicas whose clocks differ agree. Values expire a
// second after their windows. Windows that end while replication lags behind a
// failover, or that Redis evicts for want of memory, are counted anew.
//
// Nothing is sent twice to a single server, so that nothing is charged twice. In a
// cluster a request may be, if its connection breaks before the answer.
type Redis struct {
	client  redis.UniversalClient
	script  *redis.Script
	prefix  string
	timeout time.Duration
	breaker breaker
	log     *slog.Logger

	metrics  *metrics
	duration prometheus.Histogram
}

// NewRedis makes a Redis. It does not connect, so that a Redis that is down does not
// keep anybody from starting. The error is that of options that can't work.
func NewRedis(o RedisOptions) (*Redis, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	client, err := o.client()
	if err != nil {
		return nil, err
	}
	r := &Redis{
		client: client, script: redis.NewScript(takeScript), prefix: o.Prefix, timeout: o.Timeout,
		breaker: breaker{now: time.Now}, log: o.Log, metrics: newMetrics(o.Registerer, "redis"),
	}
	r.duration = r.metrics.observeRedis()
	return r, nil
}

// Take implements [Limiter]. It returns within the timeout of the options. The error
// is one of arguments that can't be counted by, of the context, of the connection or
// of the server.
func (r *Redis) Take(ctx context.Context, key string, limits []Limit, cost int64) (Result, error) {
	begin := time.Now()
	result, err := r.take(ctx, key, limits, cost)
	r.duration.Observe(time.Since(begin).Seconds())
	if err != nil {
		r.metrics.failed.Inc()
		return Result{}, err
	}
	r.metrics.decided(result.Allowed)
	return result, nil
}

func (r *Redis) take(ctx context.Context, key string, limits []Limit, cost int64) (Result, error) {
	if err := check(key, limits, cost); err != nil {
		return Result{}, err
	}
	if len(limits) == 0 {
		return Result{Allowed: true}, nil
	}
	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("count a request in Redis: %w", err)
	}
	if !r.breaker.ask() {
		return Result{}, fmt.Errorf("count a request in Redis: %w", errDown)
	}
	answer, err := r.run(ctx, key, limits, cost)
	r.report(ctx, err)
	if err != nil {
		return Result{}, fmt.Errorf("count a request in Redis: %w", err)
	}
	return newResult(limits, cost, answer), nil
}

// run asks the server. The answer is as long as it must be.
func (r *Redis) run(ctx context.Context, key string, limits []Limit, cost int64) ([]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	arguments := make([]any, 0, 1+2*len(limits))
	arguments = append(arguments, cost)
	for _, limit := range limits {
		arguments = append(arguments, strconv.FormatInt(limit.Per.Microseconds(), 10), limit.Requests)
	}
	// The braces make the key alone choose the cluster's slot.
	keys := []string{r.prefix + "{" + key + "}"}
	answer, err := r.script.Run(ctx, r.client, keys, arguments...).Int64Slice()
	if err != nil {
		return nil, err
	}
	if len(answer) != 1+2*len(limits) {
		return nil, fmt.Errorf("the script answered with %d numbers for %d limits", len(answer), len(limits))
	}
	return answer, nil
}

// report tells the breaker how a question went, and the log when that changes
// something. That a caller went away says nothing of Redis, nor does a value that
// someone else has put in the place of one of ours.
func (r *Redis) report(ctx context.Context, err error) {
	switch {
	case err == nil:
		if r.breaker.succeeded() {
			r.log.LogAttrs(ctx, slog.LevelInfo, "Redis answers again; rate limits are counted")
		}
	case over(ctx) || redis.HasErrorPrefix(err, "WRONGTYPE"):
	case r.breaker.failed():
		r.log.LogAttrs(ctx, slog.LevelError, "Redis does not answer; rate limits can't be counted", slog.Any("error", err))
	}
}

// over reports whether a context has ended or is just about to: a connection may
// notice its deadline first.
func over(ctx context.Context) bool {
	deadline, set := ctx.Deadline()
	return ctx.Err() != nil || set && !time.Now().Before(deadline)
}

// newResult reads the script's answer: allowed, then used and microseconds to the
// end for each limit.
func newResult(limits []Limit, cost int64, answer []int64) Result {
	result := Result{Allowed: answer[0] == 1, Windows: make([]Window, len(limits))}
	for i, limit := range limits {
		used, reset := answer[1+2*i], time.Duration(answer[2+2*i])*time.Microsecond
		result.Windows[i] = Window{Limit: limit, Remaining: max(0, limit.Requests-used), Reset: reset}
		if !result.Allowed && cost > result.Windows[i].Remaining {
			result.RetryAfter = max(result.RetryAfter, reset)
		}
	}
	return result
}

// Close closes the connections.
func (r *Redis) Close() error { return r.client.Close() }
