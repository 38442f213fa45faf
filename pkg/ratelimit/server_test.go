package ratelimit

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"keygate.dev/keygate/hack/testbin"
)

// server is a real redis-server.
type server struct {
	tb testing.TB
	// url to reach it by, and its options for a client of the test's own.
	url     string
	options *redis.Options

	arguments []string
	process   *exec.Cmd
	output    *bytes.Buffer
}

// startRedis starts a server on a Unix socket.
func startRedis(tb testing.TB, arguments ...string) *server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "redis") // tb.TempDir may be too long for a socket
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	s := &server{
		tb: tb, url: "unix://" + socket, options: &redis.Options{Network: "unix", Addr: socket, DialerRetries: 1},
		arguments: append([]string{"--port", "0", "--unixsocket", socket}, arguments...),
	}
	s.start()
	return s
}

// startRedisTCP starts a server on a port of the loopback interface.
func startRedisTCP(tb testing.TB, arguments ...string) *server {
	tb.Helper()
	port := freePort(tb)
	address := net.JoinHostPort("127.0.0.1", port)
	s := &server{
		tb: tb, url: "redis://" + address, options: &redis.Options{Addr: address, DialerRetries: 1},
		arguments: append([]string{"--port", port}, arguments...),
	}
	s.start()
	return s
}

// freePort is a port that nobody listens on, as is that of a cluster's bus, which is
// 10,000 higher. Both are below the range that the kernel gives to outgoing connections,
// where one could take them before the server does.
func freePort(tb testing.TB) string {
	tb.Helper()
	for range 200 {
		if port := 15_000 + rand.IntN(7_000); isFree(port) && isFree(port+10_000) {
			return strconv.Itoa(port)
		}
	}
	tb.Fatal("no port is free")
	return ""
}

// isFree reports whether nobody listens on a port of loopback.
func isFree(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return err == nil && listener.Close() == nil
}

// start runs the server, again if it was killed, and waits until it answers.
func (s *server) start() {
	s.tb.Helper()
	path, err := testbin.Redis(s.tb.Context())
	if err != nil {
		s.tb.Fatal(err)
	}
	s.output = &bytes.Buffer{}
	s.process = exec.Command(path, append([]string{"--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.tb.TempDir()}, s.arguments...)...)
	s.process.Stdout, s.process.Stderr = s.output, s.output
	if err := s.process.Start(); err != nil {
		s.tb.Fatal(err)
	}
	running := s.process
	s.tb.Cleanup(func() {
		_ = running.Process.Kill()
		_ = running.Wait()
		if s.tb.Failed() {
			s.tb.Logf("redis-server:\n%s", s.output)
		}
	})
	client := s.client()
	eventually(s.tb, func() error { return client.Ping(context.Background()).Err() })
}

// client is one of the test's own.
func (s *server) client() *redis.Client {
	logging.Disable()
	client := redis.NewClient(s.options)
	s.tb.Cleanup(func() { _ = client.Close() })
	return client
}

// kill ends the server as a crash does.
func (s *server) kill() {
	s.tb.Helper()
	if err := s.process.Process.Kill(); err != nil {
		s.tb.Fatal(err)
	}
	_ = s.process.Wait()
}

// freeze makes the server accept connections and answer nothing, until the function
// returned is called.
func (s *server) freeze() (thaw func()) {
	s.tb.Helper()
	signal := func(what syscall.Signal) {
		if err := s.process.Process.Signal(what); err != nil {
			s.tb.Errorf("send %v: %v", what, err)
		}
	}
	signal(syscall.SIGSTOP)
	return func() { signal(syscall.SIGCONT) }
}

// calls is how often the server ran a command.
func (s *server) calls(command string) int {
	s.tb.Helper()
	stats, err := s.client().InfoMap(s.tb.Context(), "commandstats").Result()
	if err != nil {
		s.tb.Fatal(err)
	}
	calls := 0
	_, _ = fmt.Sscanf(stats["Commandstats"]["cmdstat_"+command], "calls=%d,", &calls)
	return calls
}

// within fails the test if f takes longer than most.
func within(tb testing.TB, most time.Duration, f func()) {
	tb.Helper()
	begin := time.Now()
	f()
	if took := time.Since(begin); took > most {
		tb.Errorf("took %v, more than %v", took, most)
	}
}
