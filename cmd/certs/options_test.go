package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

// needed are the flags without which there is nothing to do.
var needed = []string{"--ca-secret=s/ca", "--server-secret=s/server", "--client-secrets=s/client,e/client", "--server-names=a.s.svc,a.s"}

func TestParseFlags(t *testing.T) {
	got, err := parseFlags(append(needed, "--kubeconfig=k", "--life=2h", "--ca-life=9h", "--create"), &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	got.now, got.output = nil, nil
	want := options{
		kubeconfig: "k", create: true, serverNames: []string{"a.s.svc", "a.s"}, periods: periods{authority: 9 * time.Hour, leaf: 2 * time.Hour},
		authority: types.NamespacedName{Namespace: "s", Name: "ca"}, server: types.NamespacedName{Namespace: "s", Name: "server"},
		clients: []types.NamespacedName{{Namespace: "s", Name: "client"}, {Namespace: "e", Name: "client"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{}, periods{})); diff != "" {
		t.Error(diff)
	}
}

func TestFlagsRefused(t *testing.T) {
	for name, test := range map[string]struct{ arg, says string }{
		"an argument":           {"now", "no arguments"},
		"no names":              {"--server-names=", "--server-names"},
		"no authority":          {"--ca-secret=", "--ca-secret"},
		"a name too many":       {"--server-secret=a/b/c", "--server-secret"},
		"an empty client":       {"--client-secrets=s/client,", "--client-secrets"},
		"a client twice":        {"--client-secrets=s/c,s/c", "named twice"},
		"a client as server":    {"--client-secrets=s/server", "named twice"},
		"authority as server":   {"--server-secret=s/ca", "named twice"},
		"a life too short":      {"--life=59m", "--life"},
		"an authority too soon": {"--ca-life=8639h", "--ca-life"},
		"an unknown flag":       {"--nothing", "nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if _, err := parseFlags(append(needed, test.arg), &out); err == nil || !strings.Contains(out.String(), test.says) {
				t.Errorf("got %v, said %q", err, out.String())
			}
		})
	}
}
