package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseFlags(t *testing.T) {
	defaults := options{
		adminListen: ":9003", systemNamespace: "keygate-system", keysNamespace: "keygate-keys",
		leaderElect: true, logFormat: "json", expiringSoon: 336 * time.Hour,
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
		"expiring soon":     {[]string{"--expiring-soon=72h"}, with(func(o *options) { o.expiringSoon = 72 * time.Hour }), ""},
		"expiring never":    {[]string{"--expiring-soon=0s"}, options{}, "--expiring-soon must be longer"},
		"expiring backward": {[]string{"--expiring-soon=-1h"}, options{}, "--expiring-soon must be longer"},
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
