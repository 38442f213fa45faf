package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/hack/testbin"
)

// newStack is a stack in a temporary directory that was never brought up.
func newStack(t *testing.T) *stack {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "it's a stack")
	s := &stack{root: dir, dir: dir, config: config{Replicas: 2, Ports: map[string]int{}}}
	for i, name := range portNames(s.Replicas) {
		s.Ports[name] = 20000 + i
	}
	if err := s.clear(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFlagValueIsTheLastOne(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"absent":                {[]string{"--listening=x"}, ""},
		"joined":                {[]string{"--listen=a"}, "a"},
		"apart":                 {[]string{"-listen", "a"}, "a"},
		"the user's comes last": {[]string{"--listen=a", "--other", "--listen", "b"}, "b"},
		"no value left":         {[]string{"--listen=a", "--listen"}, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := flagValue(test.args, "listen"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestFindMeansEveryReplica(t *testing.T) {
	s := newStack(t)
	for name, want := range map[string][]string{
		"extauthz":       {"extauthz", "extauthz-2"},
		"extauthz-2":     {"extauthz-2"},
		"kube-apiserver": {"apiserver"},
		"redis":          nil,
	} {
		t.Run(name, func(t *testing.T) {
			found, err := s.find(name)
			var got []string
			for _, c := range found {
				got = append(got, c.name)
			}
			if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (want != nil) {
				t.Errorf("error %v, (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestRedisIsThereWhenAskedFor: one component more, which extauthz is told of unless
// EXTAUTHZ_FLAGS say otherwise.
func TestRedisIsThereWhenAskedFor(t *testing.T) {
	for value, want := range map[string]bool{"": false, "0": false, "1": true} {
		t.Setenv("REDIS", value)
		s := newStack(t)
		s.ExtauthzFlags = []string{"--cache-size=1"}
		if err := s.readShape(); err != nil {
			t.Fatal(err)
		}
		_, err := s.find("redis")
		args := s.extauthzArgs(1)
		told := flagValue(args, "rate-limit-redis")
		if (err == nil) != want || (told == "redis://"+s.address("redis")) != want || (told == "") == want {
			t.Errorf("REDIS=%s: %v, extauthz is told of %q", value, err, told)
		}
		if args[len(args)-1] != "--cache-size=1" {
			t.Errorf("the user's flags are not the last: %q", args)
		}
	}
}

// TestEnvoyWaitsForAsLongAsAsked: so long for a Check, and for each try of one.
func TestEnvoyWaitsForAsLongAsAsked(t *testing.T) {
	for value, want := range map[string]string{"": "1s", "20s": "20s"} {
		t.Setenv("CHECK_TIMEOUT", value)
		s := newStack(t)
		if err := errors.Join(s.readShape(), s.writeBootstrap()); err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"                timeout: " + want + "\n", "max_interval: " + want + "}"} {
			if n := strings.Count(s.bootstrapped(), line); n != 2 { // one for each listener
				t.Errorf("CHECK_TIMEOUT=%s: %q is there %d times", value, line, n)
			}
		}
	}
	t.Setenv("CHECK_TIMEOUT", "1m")
	if err := newStack(t).readShape(); err == nil {
		t.Error("1m is no time to Envoy, and was taken")
	}
}

func TestReplicasCannotShareAnAddress(t *testing.T) {
	for name, test := range map[string]struct {
		replicas int
		flags    []string
		refused  bool
	}{
		"one":           {1, []string{"--listen=unix:///x"}, false},
		"two":           {2, []string{"--listen=unix:///x"}, true},
		"two, no clash": {2, []string{"--cache-size=1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := (&config{Replicas: test.replicas, ExtauthzFlags: test.flags}).checkFlags()
			if (err != nil) != test.refused {
				t.Errorf("got %v, want refused: %v", err, test.refused)
			}
		})
	}
}

func TestParseAddress(t *testing.T) {
	for address, want := range map[string]envoyAddress{
		"127.0.0.1:9001":     {Host: "127.0.0.1", Port: "9001"},
		":9001":              {Host: "127.0.0.1", Port: "9001"},
		"[::1]:9001":         {Host: "::1", Port: "9001"},
		"unix:///run/x.sock": {Pipe: "/run/x.sock"},
	} {
		got, err := parseAddress(address)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", address, got, err, want)
		}
	}
	if got, err := parseAddress("nowhere"); err == nil {
		t.Errorf("nowhere: got %+v, want an error", got)
	}
}

// Envoy itself judges the configuration, with both kinds of endpoint.
func TestEnvoyAcceptsItsConfiguration(t *testing.T) {
	envoy, err := testbin.Envoy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := newStack(t)
	for name, flags := range map[string][]string{"TCP": nil, "Unix socket": {"--listen=unix:///tmp/extauthz.sock"}} {
		t.Run(name, func(t *testing.T) {
			s.ExtauthzFlags = flags
			if err := s.makeCertificates(); err != nil {
				t.Fatal(err)
			}
			if err := s.writeBootstrap(); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.CommandContext(t.Context(), envoy, "--mode", "validate", "--config-path", s.path("envoy.yaml")).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestAShellReadsTheEnvFile(t *testing.T) {
	s := newStack(t)
	if err := s.writeEnv(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `. "$1" && echo "$KUBECONFIG|${PATH%%:*}|$GATEWAY|$EXTAUTHZ|$METRICS_2"`, "sh", s.path("env")).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{s.path("admin.kubeconfig"), s.path("bin"), "http://" + s.address("gateway"),
		s.address("extauthz"), "http://" + s.address("extauthz-2-admin")}, "|")
	if diff := cmp.Diff(want, strings.TrimSpace(string(out))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestOnlyAStacksOwnDirectoryIsCleared(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &stack{dir: dir}
	if err := s.clear(); err == nil {
		t.Error("a foreign directory was cleared")
	}
	if err := s.down(); err != nil {
		t.Errorf("down: %v", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestPortsDiffer(t *testing.T) {
	names := portNames(maxReplicas)
	ports, err := freePorts(names)
	if err != nil {
		t.Fatal(err)
	}
	taken := map[int]string{}
	for _, name := range names {
		if other := taken[ports[name]]; other != "" || ports[name] == 0 {
			t.Errorf("%s and %q have port %d", name, other, ports[name])
		}
		taken[ports[name]] = name
	}
}

func TestProcessesAreToldByTheirMark(t *testing.T) {
	s, other := newStack(t), newStack(t)
	// Not a shell: while one hands its process over to a command, the process has no
	// environment for a moment.
	line := filepath.Join(t.TempDir(), "line")
	if err := os.WriteFile(line, []byte("it runs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sleeper := component{name: "upstream", program: "tail", args: []string{"-f", line}}
	for _, stack := range []*stack{s, other} {
		if err := stack.start(sleeper); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := stack.stopAll(); err != nil {
				t.Error(err)
			}
		})
	}
	mine, err := s.running()
	if err != nil || len(mine) != 1 {
		t.Fatalf("got %v, %v, want one process", mine, err)
	}
	for deadline := time.Now().Add(startLimit); strings.TrimSpace(s.logTail("upstream")) != "it runs" && time.Now().Before(deadline); <-time.After(stopPoll) {
	}
	// Somebody else's process is left alone, though it has the id that was noted.
	theirs, err := other.running()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.stop(map[string]int{"upstream": theirs["upstream"]}); err != nil {
		t.Fatal(err)
	}
	if got, err := other.running(); err != nil || got["upstream"] != theirs["upstream"] {
		t.Errorf("the other stack's process is gone: %v, %v", got, err)
	}
	if err := s.stopAll(); err != nil {
		t.Fatal(err)
	}
	if got, err := s.running(); err != nil || len(got) != 0 {
		t.Errorf("got %v, %v after stopping", got, err)
	}
	if got := s.logTail("upstream"); strings.TrimSpace(got) != "it runs" {
		t.Errorf("the log holds %q", got)
	}
}

func TestAComponentThatDiesSaysWhy(t *testing.T) {
	s := newStack(t)
	err := s.start(component{name: "etcd", program: "/bin/sh", args: []string{"-c", "echo the disk is full; exit 1"}})
	if err == nil {
		err = s.wait(t.Context(), "etcd", s.httpProbe("http://127.0.0.1:1/", "", ""), startLimit)
	}
	if err == nil || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), errDied.Error()) {
		t.Errorf("got %v", err)
	}
}

func TestComponentsInheritNoCredentials(t *testing.T) {
	t.Setenv("KUBECONFIG", "/admin")
	for _, variable := range componentEnvironment() {
		if strings.HasPrefix(variable, "KUBECONFIG=") {
			t.Errorf("a component gets %s", variable)
		}
	}
}

func TestReplicasAreBounded(t *testing.T) {
	for value, want := range map[string]int{"": 0, "3": 3, "0": -1, "many": -1, strconv.Itoa(maxReplicas + 1): -1} {
		t.Setenv("EXTAUTHZ_REPLICAS", value)
		var c config
		if err := c.readShape(); (err != nil) != (want < 0) || err == nil && c.Replicas != want {
			t.Errorf("%q: got %d, %v, want %d", value, c.Replicas, err, want)
		}
	}
}

// TestRedisIsToldByItsMark: it answers, and is stopped like any other component.
func TestRedisIsToldByItsMark(t *testing.T) {
	program, err := testbin.Redis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := newStack(t)
	s.WithRedis, s.Redis = true, program
	if s.Ports, err = freePorts(portNames(s.Replicas)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stopAll(); err != nil {
			t.Error(err)
		}
	})
	redis := s.redis()[0]
	if err := s.start(redis); err != nil {
		t.Fatal(err)
	}
	if err := s.wait(t.Context(), redis.name, redis.ready, startLimit); err != nil {
		t.Fatal(err)
	}
	if got, err := s.running(); err != nil || got["redis"] == 0 {
		t.Errorf("got %v, %v", got, err)
	}
	if err := s.stopAll(); err != nil {
		t.Fatal(err)
	}
	if err := redis.alive(t.Context()); err == nil {
		t.Error("it still answers")
	}
}

// TestEnvoysOwnAnswerIsNoDecision: only what extauthz said counts.
func TestEnvoysOwnAnswerIsNoDecision(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		body    string
		decided bool
	}{
		"a denial":          {403, `{"reason": "no_policy"}`, true},
		"an allow":          {200, "", true},
		"not synced yet":    {503, `{"reason": "unavailable"}`, true},
		"Envoy, for itself": {503, `{"detail": "` + gatewayError + `"}`, false},
		"Envoy, wordless":   {503, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := isDecision(test.status, []byte(test.body)); got != test.decided {
				t.Errorf("got %v", got)
			}
		})
	}
}
