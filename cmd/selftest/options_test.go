package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestParseFlags(t *testing.T) {
	got, err := parseFlags([]string{"--kubeconfig=k", "--namespace=n", "--extauthz=e:1", "--tls-cert=c", "--tls-key=y", "--tls-ca=a", "--timeout=3s"}, &bytes.Buffer{})
	want := options{kubeconfig: "k", namespace: "n", extauthz: "e:1", cert: "c", key: "y", ca: "a", timeout: 3 * time.Second, output: got.output}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestFlagsRefused(t *testing.T) {
	for name, test := range map[string]struct{ arg, says string }{
		"an argument":    {"now", "no arguments"},
		"no namespace":   {"--namespace=", "--namespace"},
		"no extauthz":    {"--extauthz=", "--extauthz"},
		"half of TLS":    {"--tls-cert=c", "go together"},
		"no CA":          {"--tls-ca=a", "go together"},
		"no time":        {"--timeout=0s", "--timeout"},
		"an unknown one": {"--nothing", "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if _, err := parseFlags([]string{"--extauthz=e:1", test.arg}, &out); err == nil || !strings.Contains(out.String(), test.says) {
				t.Errorf("got %v, said %q", err, out.String())
			}
		})
	}
}
