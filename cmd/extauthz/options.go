package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"time"

	"keygate.dev/keygate/cmd/internal/version"
	"keygate.dev/keygate/pkg/authz"
	"keygate.dev/keygate/pkg/ratelimit"
)

// options are what the command line says.
type options struct {
	// listen is "host:port" or "unix:///path".
	listen string
	// adminListen is the "host:port" of probes and metrics.
	adminListen string
	// kubeconfig is a path; "": the pod's own service account.
	kubeconfig      string
	systemNamespace string
	keysNamespace   string
	// policy is the "namespace/name" that judges requests whose route names none;
	// "": their host chooses.
	policy string
	// cacheSize is the number of records held in memory.
	cacheSize int
	decisions authz.DecisionLog
	// logFormat is json or text.
	logFormat string
	tls       authz.TLSFiles
	// trustForwardedProto takes x-forwarded-proto for the truth about TLS.
	trustForwardedProto bool
	// clientAddress is where the address is read that allowedCIDRs are compared with.
	clientAddress authz.ClientAddress
	rateLimit     rateLimitOptions
	usage         usageOptions
	// auditLog is a path that is appended to; "" and "-": where the log goes.
	auditLog string
	// maxBodyBytes is the longest body of a denial; 0: no limit.
	maxBodyBytes int
	pprof        bool
	// tracing exports spans, to where OpenTelemetry's environment variables say.
	tracing      bool
	drainDelay   time.Duration
	drainTimeout time.Duration
	// syncWait is the longest that connections wait for the first list.
	syncWait time.Duration
	// relistInterval is how often the store is compared with a consistent list.
	relistInterval time.Duration
	// logOutput takes the log.
	logOutput io.Writer
}

// rateLimitOptions say where the requests of keys are counted.
type rateLimitOptions struct {
	// redis is the URL of a Redis; "": each replica counts in its own memory.
	redis string
	// passwordFile holds its password, if the URL does not.
	passwordFile string
	tls          ratelimit.RedisTLS
	// timeout bounds what counting adds to a decision.
	timeout time.Duration
	// keys is how many are counted in memory at once.
	keys int
}

// parseFlags reads the command line. What is wrong with it is written to output,
// with the usage; so is the log later.
func parseFlags(args []string, output io.Writer) (options, error) {
	o := options{logOutput: output, syncWait: defaultSyncWait}
	decisions, clientAddress := string(authz.LogNone), string(authz.ClientPeer)
	f := flag.NewFlagSet("extauthz", flag.ContinueOnError)
	f.SetOutput(output)
	version.Register(f)
	f.StringVar(&o.listen, "listen", ":9001", "address of the gRPC server: host:port or unix:///path")
	f.StringVar(&o.adminListen, "admin-listen", ":9002", "address of /healthz, /readyz and /metrics")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig file (default: the pod's service account)")
	f.StringVar(&o.systemNamespace, "system-namespace", "keygate-system", "namespace of the root Secret")
	f.StringVar(&o.keysNamespace, "keys-namespace", "keygate-keys", "namespace of the records and accepted policies")
	f.StringVar(&o.policy, "policy", "", "namespace/name of the policy for requests whose route names none (default: chosen by host)")
	f.IntVar(&o.cacheSize, "cache-size", 1_000_000, "number of records held in memory; every key's digest always is")
	f.StringVar(&decisions, "log-decisions", decisions, "decisions that get a log line: none, denied or all")
	f.StringVar(&o.logFormat, "log-format", "json", "json or text")
	f.StringVar(&o.tls.Cert, "tls-cert", "", "certificate file of the gRPC server, PEM (default: no TLS)")
	f.StringVar(&o.tls.Key, "tls-key", "", "key file of the gRPC server, PEM")
	f.StringVar(&o.tls.ClientCA, "tls-client-ca", "", "CA file that signs the certificates clients must show, PEM")
	f.BoolVar(&o.trustForwardedProto, "trust-forwarded-proto", false, "believe x-forwarded-proto: https where a policy requires TLS; only behind a load balancer that ends TLS and sets it")
	f.StringVar(&clientAddress, "client-address", clientAddress, "where the address is read that a key's allowedCIDRs are compared with: peer, the other end of the connection to Envoy, or x-envoy-external-address, that header, which callers can write unless Envoy has use_remote_address")
	f.StringVar(&o.rateLimit.redis, "rate-limit-redis", "", "where all replicas together count the requests of keys: redis://[user:password@]host:port[/database], rediss:// for TLS, unix:///path, or a comma list of a Redis Cluster's nodes (default: in memory, each replica for itself)")
	f.StringVar(&o.rateLimit.passwordFile, "rate-limit-redis-password-file", "", "file with the password of that Redis, read for each connection")
	f.StringVar(&o.rateLimit.tls.CA, "rate-limit-redis-ca", "", "CA file that signs the certificate of that Redis, PEM (default: the system's)")
	f.StringVar(&o.rateLimit.tls.Cert, "rate-limit-redis-cert", "", "certificate file to show to that Redis, PEM")
	f.StringVar(&o.rateLimit.tls.Key, "rate-limit-redis-key", "", "key file of that certificate, PEM")
	f.DurationVar(&o.rateLimit.timeout, "rate-limit-timeout", 100*time.Millisecond, "longest wait for that Redis, less than Envoy waits for extauthz; then the policy's limitFailure decides")
	f.IntVar(&o.rateLimit.keys, "rate-limit-keys", 1_000_000, "number of keys that are counted in memory at once, about 100 bytes each")
	f.IntVar(&o.usage.writesPerSecond, "usage-writes-per-second", 20, "writes in a second, by all replicas together, of when APIKeys were last used (0: not written)")
	f.DurationVar(&o.usage.interval, "usage-interval", time.Minute, "least time between two such writes of one APIKey by one replica")
	f.IntVar(&o.usage.keys, "usage-keys", 200_000, "number of APIKeys that can wait to be written, about 200 bytes each; what is beyond is not noted")
	f.DurationVar(&o.usage.flushTimeout, "usage-flush-timeout", 5*time.Second, "longest time that is spent on what is not written at the end, after the drain timeout")
	f.StringVar(&o.auditLog, "audit-log", "", "file to append to, in JSON, who calls with dead keys (default: standard error)")
	f.IntVar(&o.maxBodyBytes, "max-body-bytes", 0, "longest body of a denial, a longer one is left out; set it as Envoy's max_denied_response_body_bytes (0: no limit)")
	f.BoolVar(&o.pprof, "pprof", false, "serve /debug/pprof on the admin address")
	f.BoolVar(&o.tracing, "tracing", false, "export OpenTelemetry spans of decisions over OTLP/gRPC, joined to Envoy's traces, as OTEL_EXPORTER_OTLP_ENDPOINT and OpenTelemetry's other environment variables say")
	f.DurationVar(&o.drainDelay, "drain-delay", 5*time.Second, "time from NOT_SERVING to the refusal of new calls")
	f.DurationVar(&o.drainTimeout, "drain-timeout", 20*time.Second, "longest wait for calls that are left")
	f.DurationVar(&o.relistInterval, "relist-interval", 10*time.Minute, "time between consistent lists of the keys namespace")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.decisions, o.clientAddress = authz.DecisionLog(decisions), authz.ClientAddress(clientAddress)
	if err := o.validate(f.NArg()); err != nil {
		fmt.Fprintln(output, "extauthz:", err)
		return o, err
	}
	return o, nil
}

// policyName is the "namespace/name" of a policy.
var policyName = regexp.MustCompile(`^[a-z0-9][-a-z0-9]*/[a-z0-9][-a-z0-9.]*$`)

// validate names every flag that can't be as it is.
func (o *options) validate(rest int) error {
	var problems []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	_, err := authz.ParseDecisionLog(string(o.decisions))
	refuse(err != nil, "--log-decisions: %w", err)
	_, err = authz.ParseClientAddress(string(o.clientAddress))
	refuse(err != nil, "--client-address: %w", err)
	refuse(rest > 0, "there are no arguments, only flags")
	refuse(o.listen == "", "--listen must not be empty")
	refuse(o.adminListen == "", "--admin-listen must not be empty")
	refuse(o.systemNamespace == "", "--system-namespace must not be empty")
	refuse(o.keysNamespace == "", "--keys-namespace must not be empty")
	refuse(o.policy != "" && !policyName.MatchString(o.policy), "--policy must be namespace/name")
	refuse(o.cacheSize < 1, "--cache-size must be at least 1")
	refuse(o.logFormat != "json" && o.logFormat != "text", "--log-format must be json or text")
	refuse((o.tls.Cert == "") != (o.tls.Key == ""), "--tls-cert and --tls-key go together")
	refuse(o.tls.ClientCA != "" && o.tls.Cert == "", "--tls-client-ca needs --tls-cert and --tls-key")
	problems = append(problems, o.rateLimit.validate(), o.usage.validate())
	refuse(o.maxBodyBytes < 0, "--max-body-bytes must not be negative")
	refuse(o.drainDelay < 0, "--drain-delay must not be negative")
	refuse(o.drainTimeout <= 0, "--drain-timeout must be above 0")
	refuse(o.relistInterval <= 0, "--relist-interval must be above 0")
	return errors.Join(problems...)
}

// validate names every flag that can't be as it is.
func (o *rateLimitOptions) validate() error {
	var problems []error
	if o.redis == "" && (o.passwordFile != "" || o.tls != (ratelimit.RedisTLS{})) {
		problems = append(problems, errors.New("--rate-limit-redis-… needs --rate-limit-redis"))
	}
	if (o.tls.Cert == "") != (o.tls.Key == "") {
		problems = append(problems, errors.New("--rate-limit-redis-cert and --rate-limit-redis-key go together"))
	}
	if o.timeout <= 0 {
		problems = append(problems, errors.New("--rate-limit-timeout must be above 0"))
	}
	if o.keys < 1 {
		problems = append(problems, errors.New("--rate-limit-keys must be at least 1"))
	}
	return errors.Join(problems...)
}

// logger writes as the flags say.
func (o *options) logger() *slog.Logger {
	if o.logFormat == "text" {
		return slog.New(slog.NewTextHandler(o.logOutput, nil))
	}
	return slog.New(slog.NewJSONHandler(o.logOutput, nil))
}
