package main

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"

	"keygate.dev/keygate/pkg/authz"
	"keygate.dev/keygate/pkg/ratelimit"
)

func TestFlags(t *testing.T) {
	var out bytes.Buffer
	got, err := parseFlags([]string{
		"--listen=unix:///run/keygate.sock", "--admin-listen=127.0.0.1:1", "--kubeconfig=k", "--system-namespace=s",
		"--keys-namespace=n", "--policy=platform/stepsies", "--cache-size=7", "--log-decisions=denied", "--log-format=text",
		"--tls-cert=c", "--tls-key=k", "--tls-client-ca=a", "--max-body-bytes=9", "--pprof", "--drain-delay=1s",
		"--drain-timeout=2s", "--relist-interval=3s", "--trust-forwarded-proto", "--rate-limit-redis=rediss://r:1",
		"--rate-limit-redis-password-file=p", "--rate-limit-redis-ca=ra", "--rate-limit-redis-cert=rc", "--rate-limit-redis-key=rk",
		"--rate-limit-timeout=4s", "--rate-limit-keys=8", "--client-address=x-envoy-external-address",
		"--usage-writes-per-second=5", "--usage-interval=2m", "--usage-keys=6", "--usage-flush-timeout=7s", "--audit-log=audit.log",
	}, &out)
	want := options{
		listen: "unix:///run/keygate.sock", adminListen: "127.0.0.1:1", kubeconfig: "k", systemNamespace: "s",
		keysNamespace: "n", policy: "platform/stepsies", cacheSize: 7, decisions: authz.LogDenied, logFormat: "text",
		tls: authz.TLSFiles{Cert: "c", Key: "k", ClientCA: "a"}, maxBodyBytes: 9, pprof: true, drainDelay: time.Second,
		drainTimeout: 2 * time.Second, syncWait: defaultSyncWait, relistInterval: 3 * time.Second, logOutput: &out, trustForwardedProto: true, clientAddress: authz.ClientExternal,
		usage: usageOptions{writesPerSecond: 5, interval: 2 * time.Minute, keys: 6, flushTimeout: 7 * time.Second}, auditLog: "audit.log",
		rateLimit: rateLimitOptions{
			redis: "rediss://r:1", passwordFile: "p", tls: ratelimit.RedisTLS{CA: "ra", Cert: "rc", Key: "rk"},
			timeout: 4 * time.Second, keys: 8,
		},
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDefaults(t *testing.T) {
	got, err := parseFlags(nil, nil)
	want := options{
		listen: ":9001", adminListen: ":9002", systemNamespace: "keygate-system", keysNamespace: "keygate-keys",
		cacheSize: 1_000_000, decisions: authz.LogNone, clientAddress: authz.ClientPeer, logFormat: "json", drainDelay: 5 * time.Second,
		drainTimeout: 20 * time.Second, syncWait: defaultSyncWait, relistInterval: 10 * time.Minute,
		rateLimit: rateLimitOptions{timeout: 100 * time.Millisecond, keys: 1_000_000},
		usage:     usageOptions{writesPerSecond: 20, interval: time.Minute, keys: 200_000, flushTimeout: 5 * time.Second},
	}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestFlagsRefused(t *testing.T) {
	for name, tc := range map[string]struct{ arg, says string }{
		"unknown flag":         {"--nothing", "--nothing"},
		"an argument":          {"serve", "no arguments"},
		"no listener":          {"--listen=", "--listen"},
		"no admin listener":    {"--admin-listen=", "--admin-listen"},
		"no system namespace":  {"--system-namespace=", "--system-namespace"},
		"no keys namespace":    {"--keys-namespace=", "--keys-namespace"},
		"policy without name":  {"--policy=platform", "--policy"},
		"policy of three":      {"--policy=a/b/c", "--policy"},
		"no cache":             {"--cache-size=0", "--cache-size"},
		"unknown decisions":    {"--log-decisions=some", "--log-decisions"},
		"unknown address":      {"--client-address=x-forwarded-for", "--client-address"},
		"unknown format":       {"--log-format=xml", "--log-format"},
		"certificate alone":    {"--tls-cert=c", "--tls-key"},
		"key alone":            {"--tls-key=k", "--tls-cert"},
		"client CA alone":      {"--tls-client-ca=a", "--tls-client-ca"},
		"negative body":        {"--max-body-bytes=-1", "--max-body-bytes"},
		"negative drain delay": {"--drain-delay=-1s", "--drain-delay"},
		"no drain timeout":     {"--drain-timeout=0s", "--drain-timeout"},
		"no relist interval":   {"--relist-interval=0s", "--relist-interval"},
		"password of no Redis": {"--rate-limit-redis-password-file=p", "--rate-limit-redis"},
		"CA of no Redis":       {"--rate-limit-redis-ca=a", "--rate-limit-redis"},
		"certificate to Redis": {"--rate-limit-redis-cert=c", "--rate-limit-redis-key"},
		"no time for Redis":    {"--rate-limit-timeout=0s", "--rate-limit-timeout"},
		"no counted keys":      {"--rate-limit-keys=0", "--rate-limit-keys"},
		"negative writes":      {"--usage-writes-per-second=-1", "--usage-writes-per-second"},
		"too many writes":      {"--usage-writes-per-second=1001", "--usage-writes-per-second"},
		"no usage interval":    {"--usage-interval=0s", "--usage-interval"},
		"no keys of usage":     {"--usage-keys=0", "--usage-keys"},
		"negative flush":       {"--usage-flush-timeout=-1s", "--usage-flush-timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			_, err := parseFlags([]string{tc.arg}, &out)
			if err == nil || !strings.Contains(strings.ReplaceAll(out.String(), " -nothing", " --nothing"), tc.says) {
				t.Errorf("%v: %s", err, out.String())
			}
		})
	}
	var out bytes.Buffer
	if _, err := parseFlags([]string{"--help"}, &out); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "drain-delay") {
		t.Errorf("%v: %s", err, out.String())
	}
}
