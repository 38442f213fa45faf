package ratelimit

import (
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	// redisDialTimeout bounds the making of a connection, which goes on in the
	// background when the request that wanted it no longer waits: TLS over a slow
	// network may take longer than a request has.
	redisDialTimeout = time.Second
	// redisIdleTime closes connections before a network forgets them.
	redisIdleTime = 5 * time.Minute
	// redisBuffer is ample for a question or an answer, in bytes.
	redisBuffer = 4096
)

// RedisOptions are those of a [Redis].
type RedisOptions struct {
	// URL of the server: redis://[user:password@]host[:port][/database], rediss:// for
	// TLS, or unix://[user:password@]/path[?db=database]. Several addresses, separated
	// by commas, or one with ?cluster=true, are those of nodes of a Redis Cluster.
	// The user needs the commands EVALSHA, EVAL, TIME, GET and SET, and CLUSTER for a
	// cluster, on keys that begin with Prefix. Required.
	URL string
	// PasswordFile holds the password instead of the URL, so that it is on no command
	// line. It is read for each connection. "": none.
	PasswordFile string
	// TLS of a rediss:// URL.
	TLS RedisTLS
	// Prefix of all names in Redis, without braces. "": "keygate:ratelimit:".
	Prefix string
	// Timeout bounds a decision, waiting for a connection included. 0: 50 milliseconds.
	Timeout time.Duration
	// PoolSize is the number of connections, to each node of a cluster. 0: 10 for each
	// CPU, at least 32.
	PoolSize int
	// Log is told when Redis goes down and comes back. nil: [slog.Default].
	Log *slog.Logger
	// Registerer takes the metrics. nil: they are not registered.
	Registerer prometheus.Registerer
}

// withDefaults checks o and fills in what is absent.
func (o RedisOptions) withDefaults() (RedisOptions, error) {
	if o.Timeout < 0 || o.PoolSize < 0 {
		return o, errors.New("the timeout and the pool size of Redis are not negative")
	}
	if strings.ContainsAny(o.Prefix, "{}") { // it would choose one slot of a cluster for all keys
		return o, errors.New("the prefix in Redis holds no braces")
	}
	if o.Prefix == "" {
		o.Prefix = "keygate:ratelimit:"
	}
	if o.Timeout == 0 {
		o.Timeout = 50 * time.Millisecond
	}
	if o.PoolSize == 0 {
		o.PoolSize = max(32, 10*runtime.GOMAXPROCS(0))
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o, nil
}

// client makes the client of a server or a cluster. Its library writes to standard
// error in a form of its own, which is turned off, for the whole process: its errors
// come back from Take.
func (o RedisOptions) client() (redis.UniversalClient, error) {
	address, err := parseRedisURL(o.URL)
	if err != nil {
		return nil, err
	}
	if !address.tls && o.TLS != (RedisTLS{}) {
		return nil, errors.New("TLS files for Redis are given, but its URL does not begin with rediss://")
	}
	secure := &o.TLS
	if !address.tls {
		secure = nil
	}
	dial, err := secure.dialer()
	if err != nil {
		return nil, err
	}
	login, err := credentials(address, o.PasswordFile)
	if err != nil {
		return nil, err
	}
	logging.Disable()
	options := o.universal(address)
	options.Dialer, options.CredentialsProviderContext = dial, login
	if !address.cluster {
		return redis.NewClient(options.Simple()), nil
	}
	cluster := options.Cluster()
	cluster.DisableRoutingPolicies = true // they know nothing of scripts, and ask the server for a table
	return redis.NewClusterClient(cluster), nil
}

// universal options: everything is bounded by the context of the request that waits
// for it, nothing is tried again.
func (o RedisOptions) universal(address *redisAddress) *redis.UniversalOptions {
	return &redis.UniversalOptions{
		Addrs:                    address.hosts,
		DB:                       address.database,
		Protocol:                 2, // nothing is ever pushed to us
		MaxRetries:               -1,
		DialTimeout:              redisDialTimeout,
		DialerRetries:            1,
		ReadTimeout:              o.Timeout,
		WriteTimeout:             o.Timeout,
		PoolTimeout:              o.Timeout,
		ContextTimeoutEnabled:    true,
		PoolSize:                 o.PoolSize,
		PipelinePoolSize:         -1,
		ConnMaxIdleTime:          redisIdleTime,
		ReadBufferSize:           redisBuffer,
		WriteBufferSize:          redisBuffer,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}
