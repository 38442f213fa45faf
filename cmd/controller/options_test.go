package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

func TestParseFlags(t *testing.T) {
	defaults := options{
		adminListen: ":9003", systemNamespace: "keygate-system", keysNamespace: "keygate-keys",
		leaderElect: true, logFormat: "json",
	}
	with := func(change func(*options)) options {
		o := defaults
		change(&o)
		return o
	}
	for name, test := range map[string]struct {
		args []string
		want options
		// problem is part of what is said; "": the flags are fine.
		problem string
	}{
		"none":              {nil, defaults, ""},
		"policy namespaces": {[]string{"--policy-namespaces=a,b"}, with(func(o *options) { o.policyNamespaces = []string{"a", "b"} }), ""},
		"all namespaces":    {[]string{"--policy-namespaces=*"}, with(func(o *options) { o.policyNamespaces = []string{"*"} }), ""},
		"no leader":         {[]string{"--leader-elect=false", "--log-format=text"}, with(func(o *options) { o.leaderElect, o.logFormat = false, "text" }), ""},
		"an empty name":     {[]string{"--policy-namespaces=a,,b"}, options{}, "empty name"},
		"all and some":      {[]string{"--policy-namespaces=a,*"}, options{}, "not both"},
		"an argument":       {[]string{"now"}, options{}, "no arguments"},
		"another format":    {[]string{"--log-format=xml"}, options{}, "--log-format must be"},
		"no address":        {[]string{"--admin-listen="}, options{}, "--admin-listen must not be empty"},
		"no namespaces":     {[]string{"--keys-namespace=", "--system-namespace="}, options{}, "--system-namespace must not be empty"},
		"an unknown flag":   {[]string{"--pepper=salt"}, options{}, "-pepper"},
	} {
		t.Run(name, func(t *testing.T) {
			var said bytes.Buffer
			got, err := parseFlags(test.args, &said)
			if test.problem != "" {
				if err == nil || !strings.Contains(said.String(), test.problem) {
					t.Errorf("error %v, said %q", err, said.String())
				}
				return
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(options{})); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestAdmin(t *testing.T) {
	var ready atomic.Bool
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "keygate_test_total"}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serveAdmin(ctx, listener, newAdmin(ready.Load, registry, false)) }()

	get := func(path string) (int, string) {
		t.Helper()
		answer, err := http.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	for _, step := range []struct {
		ready bool
		path  string
		want  int
	}{
		{false, "/healthz", http.StatusOK},
		{false, "/readyz", http.StatusServiceUnavailable},
		{true, "/readyz", http.StatusOK},
		{true, "/debug/pprof/", http.StatusNotFound},
	} {
		ready.Store(step.ready)
		if got, _ := get(step.path); got != step.want {
			t.Errorf("%s answers %d, want %d", step.path, got, step.want)
		}
	}
	if status, body := get("/metrics"); status != http.StatusOK || !strings.Contains(body, "keygate_test_total 0") {
		t.Errorf("/metrics answers %d: %s", status, body)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
