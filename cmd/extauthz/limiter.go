package main

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"keygate.dev/keygate/pkg/authz"
	"keygate.dev/keygate/pkg/ratelimit"
)

// closingLimiter is a limiter and its end.
type closingLimiter interface {
	authz.Limiter
	Close() error
}

// memory gives a [ratelimit.Memory] the end that a [ratelimit.Redis] has.
type memory struct{ *ratelimit.Memory }

// Close implements [closingLimiter].
func (m memory) Close() error {
	m.Memory.Close()
	return nil
}

// newLimiter makes what counts the requests of keys, as the flags say. A Redis is
// not connected to yet: one that is down is no reason not to start.
func newLimiter(o rateLimitOptions, log *slog.Logger, metrics prometheus.Registerer) (closingLimiter, error) {
	if o.redis == "" {
		return memory{ratelimit.NewMemory(ratelimit.Options{MaxKeys: o.keys, Registerer: metrics})}, nil
	}
	redis, err := ratelimit.NewRedis(ratelimit.RedisOptions{
		URL: o.redis, PasswordFile: o.passwordFile, TLS: o.tls, Timeout: o.timeout, Log: log, Registerer: metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("count in Redis: %w", err)
	}
	return redis, nil
}
