package ratelimit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// load is callers who ask without end, each for a key of its own.
type load struct {
	stop    context.CancelFunc
	callers sync.WaitGroup

	mu sync.Mutex
	// took is how long each request took.
	took             []time.Duration
	answered, failed int
}

// startLoad lets callers ask, each every few milliseconds.
func startLoad(t *testing.T, l Limiter, callers int) *load {
	ctx, stop := context.WithCancel(t.Context())
	load := &load{stop: stop}
	for n := range callers {
		load.callers.Go(func() {
			ticker := time.NewTicker(5 * time.Millisecond)
			defer ticker.Stop()
			for ctx.Err() == nil {
				<-ticker.C
				begin := time.Now()
				_, err := l.Take(context.Background(), fmt.Sprint(n), hour(MaxRequests), 1)
				load.note(time.Since(begin), err)
			}
		})
	}
	t.Cleanup(load.end)
	return load
}

func (l *load) note(took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, took)
	if err != nil {
		l.failed++
	} else {
		l.answered++
	}
}

// so far answered and failed.
func (l *load) soFar() (answered, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answered, l.failed
}

// more waits until that many more were answered and failed.
func (l *load) more(t *testing.T, answered, failed int) {
	t.Helper()
	answeredBefore, failedBefore := l.soFar()
	eventually(t, func() error {
		a, f := l.soFar()
		if a-answeredBefore < answered || f-failedBefore < failed {
			return fmt.Errorf("%d more answered, %d more failed", a-answeredBefore, f-failedBefore)
		}
		return nil
	})
}

func (l *load) end() {
	l.stop()
	l.callers.Wait()
}

// TestRedisOutagesUnderLoad crashes the server, starts it again, and lets it hang
// for a while.
func TestRedisOutagesUnderLoad(t *testing.T) {
	s := startRedisTCP(t)
	var logged bytes.Buffer
	r := newTestRedis(t, RedisOptions{URL: s.url, Timeout: 50 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&logged, nil))})
	load := startLoad(t, r, 20)
	load.more(t, 500, 0)
	s.kill()
	load.more(t, 0, 1000)
	s.start()
	load.more(t, 500, 0)
	thaw := s.freeze()
	load.more(t, 0, 1000)
	thaw()
	load.more(t, 500, 0)
	load.end()
	eventually(t, func() error { // a busy machine may have made an outage of its own
		_, err := r.Take(t.Context(), "last", hour(MaxRequests), 1)
		return err
	})

	slices.Sort(load.took)
	p90 := load.took[len(load.took)*9/10]
	t.Logf("%d answered, %d failed; p90 %v", load.answered, load.failed, p90)
	if p90 > redisDialTimeout/2 { // nobody waits for a connection; a busy machine adds to the 50 ms
		t.Errorf("p90 %v", p90)
	}
	down := strings.Count(logged.String(), "Redis does not answer")
	up := strings.Count(logged.String(), "Redis answers again")
	if down < 2 || up != down || down > 20 {
		t.Errorf("logged %d times that Redis is down, %d times that it is up, at two outages", down, up)
	}
}

func TestRedisFrozen(t *testing.T) {
	s := startRedis(t)
	r := newTestRedis(t, RedisOptions{URL: s.url, Timeout: 100 * time.Millisecond})
	answers := func() error {
		_, err := r.Take(t.Context(), "a", hour(MaxRequests), 1)
		return err
	}
	eventually(t, answers)
	thaw := s.freeze()
	failed, down := 0, 0
	within(t, 10*time.Second, func() { // one after the other would wait for 20
		for range 200 {
			err := answers()
			if err != nil {
				failed++
			}
			if errors.Is(err, errDown) {
				down++
			}
		}
	})
	if failed != 200 || down < 150 {
		t.Errorf("%d of 200 failed, %d of them at once; want all and most", failed, down)
	}
	thaw()
	eventually(t, answers)
}

// TestRedisSilent meets a server that takes connections and says nothing, so that
// TLS is never agreed on.
func TestRedisSilent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	r := newTestRedis(t, RedisOptions{URL: "rediss://" + listener.Addr().String(), Timeout: 50 * time.Millisecond, PoolSize: 2})
	for range 50 {
		within(t, redisDialTimeout*3/4, func() {
			if _, err := r.Take(t.Context(), "a", hour(5), 1); err == nil {
				t.Error("got an answer")
			}
		})
	}
}

// TestRedisAbsent finds nobody at the address, which is known at once.
func TestRedisAbsent(t *testing.T) {
	r := newTestRedis(t, RedisOptions{URL: "redis://127.0.0.1:" + freePort(t), Timeout: 300 * time.Millisecond})
	for range breakAfter {
		if _, err := r.Take(t.Context(), "a", hour(5), 1); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v, want %v", err, syscall.ECONNREFUSED)
		}
	}
	if _, err := r.Take(t.Context(), "a", hour(5), 1); !errors.Is(err, errDown) {
		t.Errorf("got %v, want %v", err, errDown)
	}
}

// cutAnswers passes on what a client and the server say, except for the answers to
// requests: instead the connection ends. It returns the URL to connect to.
func cutAnswers(t *testing.T, s *server) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() { cut(client, s.options.Addr) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		connections.Wait()
	})
	return "redis://" + listener.Addr().String()
}

// cut passes on one question and its answer after the other, up to a request.
func cut(client net.Conn, address string) {
	defer client.Close()
	redis, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer redis.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		request := bytes.Contains(buffer[:n], []byte("evalsha"))
		if _, err := redis.Write(buffer[:n]); err != nil {
			return
		}
		if n, err = redis.Read(buffer); err != nil || request {
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// TestRedisSendsNothingTwice loses answers: whether they were counted can't be
// known, but they were not counted twice.
func TestRedisSendsNothingTwice(t *testing.T) {
	s := startRedisTCP(t)
	sound, lossy := newTestRedis(t, RedisOptions{URL: s.url}), newTestRedis(t, RedisOptions{URL: cutAnswers(t, s)})
	take(t, sound, "a", hour(10), 1)
	for range 3 {
		if got, err := lossy.Take(t.Context(), "a", hour(10), 1); err == nil {
			t.Errorf("got %v, want an error", got)
		}
	}
	if got := take(t, sound, "a", hour(10), 1).Windows[0].Remaining; got != 5 {
		t.Errorf("%d remaining after 5 requests of 10, want 5", got)
	}
}

// TestRedisFull asks a server that may not write.
func TestRedisFull(t *testing.T) {
	s := startRedis(t)
	r := newTestRedis(t, RedisOptions{URL: s.url})
	set := func(maxmemory string) {
		t.Helper()
		if err := s.client().ConfigSet(t.Context(), "maxmemory", maxmemory).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set("1")
	if _, err := r.Take(t.Context(), "a", hour(5), 1); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("got %v, want an OOM", err)
	}
	set("0")
	equal(t, "later", allowed(Window{per(5, time.Hour), 4, time.Hour}), take(t, r, "a", hour(5), 1))
}

// TestRedisCallersGoAway cancels requests, which says nothing of Redis.
func TestRedisCallersGoAway(t *testing.T) {
	s := startRedis(t)
	r := newTestRedis(t, RedisOptions{URL: s.url})
	take(t, r, "a", hour(5), 1)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Take(gone, "a", hour(5), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	thaw := s.freeze()
	within(t, 5*time.Second, func() { // the limiter's own timeout is 10 seconds
		for range 2 * breakAfter {
			impatient, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if _, err := r.Take(impatient, "b", hour(5), 1); err == nil {
				t.Error("got an answer")
			}
			cancel()
		}
	})
	thaw()
	if got := take(t, r, "a", hour(5), 1).Windows[0].Remaining; got != 3 {
		t.Errorf("%d remaining, want 3", got)
	}
}
