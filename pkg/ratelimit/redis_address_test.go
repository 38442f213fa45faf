package ratelimit

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRedisURL(t *testing.T) {
	for raw, want := range map[string]redisAddress{
		"redis://cache":                            {hosts: []string{"cache:6379"}},
		"redis://cache/":                           {hosts: []string{"cache:6379"}},
		"redis://cache:7000/3":                     {hosts: []string{"cache:7000"}, database: 3},
		"redis://cache:7000?db=3":                  {hosts: []string{"cache:7000"}, database: 3},
		"rediss://10.0.0.1":                        {hosts: []string{"10.0.0.1:6379"}, tls: true},
		"REDISS://cache":                           {hosts: []string{"cache:6379"}, tls: true},
		"redis://[::1]":                            {hosts: []string{"[::1]:6379"}},
		"redis://[::1]:7000":                       {hosts: []string{"[::1]:7000"}},
		"redis://:secret@cache":                    {hosts: []string{"cache:6379"}, password: "secret"},
		"rediss://user:s%40c%2Fr%25t@cache:1/2":    {hosts: []string{"cache:1"}, username: "user", password: "s@c/r%t", database: 2, tls: true},
		"redis://user:secret@a:1,b,[::1]:3":        {hosts: []string{"a:1", "b:6379", "[::1]:3"}, username: "user", password: "secret", cluster: true},
		"rediss://a:1?cluster=true":                {hosts: []string{"a:1"}, tls: true, cluster: true},
		"unix:///run/redis.sock":                   {hosts: []string{"/run/redis.sock"}},
		"unix://user:secret@/run/redis.sock?db=15": {hosts: []string{"/run/redis.sock"}, username: "user", password: "secret", database: 15},
	} {
		t.Run(raw, func(t *testing.T) {
			got, err := parseRedisURL(raw)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, *got, cmp.AllowUnexported(redisAddress{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRedisURLRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ raw, want string }{
		"nothing":                    {"", "none of the schemes"},
		"a host only":                {"s3cr3t:6379", "none of the schemes"},
		"another scheme":             {"http://s3cr3t", "none of the schemes"},
		"no host":                    {"redis://", "an address"},
		"no host before the port":    {"redis://:6379", "an address"},
		"no port after the colon":    {"redis://cache:", "an address"},
		"a port that is a name":      {"redis://cache:s3cr3t", "an address"},
		"a port out of range":        {"redis://cache:65536", "an address"},
		"an empty one of several":    {"redis://a,,b", "an address"},
		"no socket":                  {"unix://", "names no socket"},
		"a relative socket":          {"unix://run/redis.sock", "names no socket"},
		"a database that is a name":  {"redis://cache/s3cr3t", "a database that is no number"},
		"a negative database":        {"redis://cache/-1", "a database that is no number"},
		"another database by name":   {"redis://cache?db=s3cr3t", "neither db=number"},
		"a cluster's database":       {"redis://a,b/1", "a cluster has only number 0"},
		"a cluster's other database": {"redis://a?cluster=1&db=1", "a cluster has only number 0"},
		"a cluster by half":          {"redis://a?cluster=half", "nor cluster=true"},
		"a parameter":                {"redis://a?s3cr3t=1s", "neither db=number"},
		"a fragment":                 {"redis://a#b", "can't be read"},
		"a password that is not URL": {"redis://user:s3cr3t%zz@cache", "percent-encode"},
		"a password with a slash":    {"redis://user:s3/cr3t@cache", "write / as %2F"},
		"a password with a question": {"redis://user:s3?cr3t@cache", "neither db=number"},
		"a password with a hash":     {"redis://user:s3#cr3t@cache", "can't be read"},
		"only a slash":               {"redis://:s3/cr3t@cache", "write / as %2F"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseRedisURL(tc.raw)
			if err == nil {
				t.Fatalf("got %+v", got)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %q, want %q", err, tc.want)
			}
			if strings.Contains(err.Error(), "s3") || strings.Contains(err.Error(), "cr3t") {
				t.Errorf("%q tells a part of the URL", err)
			}
		})
	}
}

func TestNewRedisRefuses(t *testing.T) {
	const url = "rediss://cache"
	for name, tc := range map[string]struct {
		options RedisOptions
		want    string
	}{
		"no URL":                   {RedisOptions{}, "none of the schemes"},
		"a negative timeout":       {RedisOptions{URL: url, Timeout: -1}, "not negative"},
		"a negative pool":          {RedisOptions{URL: url, PoolSize: -1}, "not negative"},
		"a prefix with a hash tag": {RedisOptions{URL: url, Prefix: "{keygate}:"}, "no braces"},
		"no such CA":               {RedisOptions{URL: url, TLS: RedisTLS{CA: "/absent"}}, "read the CA of Redis"},
		"a CA without certificate": {RedisOptions{URL: url, TLS: RedisTLS{CA: "doc.go"}}, "holds no certificate"},
		"a certificate alone":      {RedisOptions{URL: url, TLS: RedisTLS{Cert: "doc.go"}}, "client certificate and key"},
		"TLS files without TLS":    {RedisOptions{URL: "redis://cache", TLS: RedisTLS{CA: "doc.go"}}, "rediss://"},
		"no such password file":    {RedisOptions{URL: url, PasswordFile: "/absent"}, "read the password"},
		"two passwords":            {RedisOptions{URL: "rediss://:secret@cache", PasswordFile: "doc.go"}, "given twice"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := NewRedis(tc.options)
			if err == nil {
				_ = r.Close()
				t.Fatal("got no error")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %q, want %q", err, tc.want)
			}
		})
	}
}
