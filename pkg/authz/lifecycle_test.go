package authz

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// healthOf asks the health service.
func (s *testServer) healthOf(tb testing.TB, service string) healthpb.HealthCheckResponse_ServingStatus {
	tb.Helper()
	out, err := healthpb.NewHealthClient(s.conn).Check(context.Background(), &healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		tb.Fatal(err)
	}
	return out.Status
}

// within lets time pass until cond holds, or fails the test after limit.
func within(tb testing.TB, limit time.Duration, what string, cond func() bool) {
	tb.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(limit / 100)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline:
			tb.Fatalf("%s: not within %s", what, limit)
		case <-tick.C:
		}
	}
}

func TestHealthFollowsTheSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.synced.Store(false)
		s := start(t, f, nil)
		for _, service := range []string{"", ServiceName} {
			if got := s.healthOf(t, service); got != healthpb.HealthCheckResponse_NOT_SERVING {
				t.Errorf("%q is %v before the first list", service, got)
			}
		}
		if s.Ready() {
			t.Error("ready before the first list")
		}
		f.synced.Store(true)
		for _, service := range []string{"", ServiceName} {
			within(t, 10*healthInterval, "serving", func() bool {
				return s.healthOf(t, service) == healthpb.HealthCheckResponse_SERVING
			})
		}
		if !s.Ready() {
			t.Error("not ready after it")
		}
		f.synced.Store(false)
		within(t, 10*healthInterval, "not serving", func() bool {
			return s.healthOf(t, "") == healthpb.HealthCheckResponse_NOT_SERVING
		})
	})
}

func TestHealthOfOtherServices(t *testing.T) {
	s := start(t, newFixture(t), nil)
	_, err := healthpb.NewHealthClient(s.conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: "other"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("got %v", err)
	}
}

// TestDrain: after the end begins, the server says so, goes on answering for the
// drain delay, lets calls end, and then is gone.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		s := start(t, f, func(o *ServerOptions) { o.DrainDelay, o.DrainTimeout = 5*time.Second, 20*time.Second })
		within(t, time.Second, "serving", func() bool { return s.healthOf(t, "") == healthpb.HealthCheckResponse_SERVING })
		began := time.Now()
		s.stop()
		synctest.Wait()
		if got := s.healthOf(t, ServiceName); got != healthpb.HealthCheckResponse_NOT_SERVING || s.Ready() {
			t.Errorf("health %v, ready %v while draining", got, s.Ready())
		}
		<-time.After(4 * time.Second)
		entered, leave := make(chan struct{}), make(chan struct{})
		f.keys.onLookup = func() { close(entered); <-leave }
		answered := make(chan error, 1)
		go func() {
			_, err := s.client.Check(context.Background(), envoyRequest(request(), true))
			answered <- err
		}()
		<-entered
		<-time.After(10 * time.Second)
		select {
		case err := <-s.served:
			t.Fatalf("served until a call was open: %v", err)
		default:
		}
		close(leave)
		if err := <-answered; err != nil {
			t.Errorf("a call that was open failed: %v", err)
		}
		err := <-s.served
		s.served <- err
		if err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 14*time.Second || took > 15*time.Second {
			t.Errorf("the end took %s", took)
		}
		if strings.Contains(s.log.String(), "still open") {
			t.Error("calls are said to have been cut")
		}
	})
}

// TestDrainIsBounded: a call that never ends is cut.
func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		s := start(t, f, func(o *ServerOptions) { o.DrainDelay, o.DrainTimeout = time.Second, 3*time.Second })
		entered, leave := make(chan struct{}), make(chan struct{})
		f.keys.onLookup = func() { close(entered); <-leave }
		answered := make(chan error, 1)
		go func() {
			_, err := s.client.Check(context.Background(), envoyRequest(request(), true))
			answered <- err
		}()
		<-entered
		began := time.Now()
		s.stop()
		if err := <-answered; status.Code(err) != codes.Unavailable {
			t.Errorf("the call got %v", err)
		}
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("it was cut after %s", took)
		}
		close(leave)
		err := <-s.served
		s.served <- err
		if !strings.Contains(s.log.String(), "still open") {
			t.Error("nobody is told")
		}
	})
}

// TestServeFails: a listener that breaks ends the server with its error.
func TestServeFails(t *testing.T) {
	f := newFixture(t)
	s := start(t, f, nil)
	if err := s.lis.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-s.served; err == nil {
		t.Error("Serve returned no error")
	}
	s.served <- nil
}

// rawConn speaks HTTP/2 frames to the server.
func rawConn(tb testing.TB, s *testServer) (*http2.Framer, net.Conn) {
	tb.Helper()
	conn, err := s.lis.Dial()
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		tb.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	if err := framer.WriteSettings(); err != nil {
		tb.Fatal(err)
	}
	return framer, conn
}

// TestPingsAreWelcome: pings as Envoy sends them, without an open stream, are
// answered and never earn a GOAWAY; a flood does.
func TestPingsAreWelcome(t *testing.T) {
	for name, tc := range map[string]struct {
		every   time.Duration
		welcome bool
	}{
		"every 30 s": {30 * time.Second, true},
		"every 6 s":  {6 * time.Second, true},
		"a flood":    {time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				framer, conn := rawConn(t, start(t, newFixture(t), nil))
				const pings = 9 // 4.5 minutes: within the age of a connection
				sent := make(chan error, 1)
				go func() {
					for range pings {
						<-time.After(tc.every)
						if err := framer.WritePing(false, [8]byte{1}); err != nil {
							sent <- err
							return
						}
					}
					sent <- nil
				}()
				if got := readPings(t, framer, pings); got != tc.welcome {
					t.Errorf("all were answered: %v", got)
				}
				if err := conn.Close(); err != nil {
					t.Error(err)
				}
				<-sent
			})
		})
	}
}

// readPings reads frames until n pings are answered, or the server ends the
// connection.
func readPings(tb testing.TB, framer *http2.Framer, n int) bool {
	tb.Helper()
	for n > 0 {
		frame, err := framer.ReadFrame()
		if err != nil {
			return false
		}
		switch frame := frame.(type) {
		case *http2.PingFrame:
			if frame.IsAck() {
				n--
			}
		case *http2.GoAwayFrame:
			if frame.ErrCode != http2.ErrCodeEnhanceYourCalm {
				tb.Errorf("GOAWAY with %v", frame.ErrCode)
			}
			return false
		}
	}
	return true
}

// TestConnectionLimits: a connection is told how many streams it may have, and to
// go when it is old.
func TestConnectionLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		framer, conn := rawConn(t, start(t, newFixture(t), nil))
		began := time.Now()
		streams := uint32(0)
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				t.Fatalf("no GOAWAY: %v", err)
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if v, ok := frame.Value(http2.SettingMaxConcurrentStreams); ok {
					streams = v
				}
				continue
			case *http2.PingFrame:
				if !frame.IsAck() {
					if err := framer.WritePing(true, frame.Data); err != nil {
						t.Fatal(err)
					}
				}
				continue
			case *http2.GoAwayFrame:
			default:
				continue
			}
			break
		}
		if age := time.Since(began); age < maxConnectionAge*8/10 || age > maxConnectionAge*12/10 {
			t.Errorf("GOAWAY after %s", age)
		}
		if streams != maxConcurrentStreams {
			t.Errorf("%d streams, want %d", streams, maxConcurrentStreams)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestRecoverUnary: a panic outside Check is an error and not the end.
func TestRecoverUnary(t *testing.T) {
	s := start(t, newFixture(t), nil)
	o, err := newObserver(s.options.Log, LogNone, newTestRegistry())
	if err != nil {
		t.Fatal(err)
	}
	intercept := recoverUnary(o)
	_, err = intercept(t.Context(), nil, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { panic("no") })
	if status.Code(err) != codes.Internal {
		t.Errorf("got %v", err)
	}
	got, err := intercept(t.Context(), nil, &grpc.UnaryServerInfo{}, func(context.Context, any) (any, error) { return "yes", nil })
	if got != "yes" || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestNewServerRefuses(t *testing.T) {
	f := newFixture(t)
	registry := newTestRegistry()
	options := func(files TLSFiles) ServerOptions {
		return ServerOptions{Decider: f.Decider, Log: discard(), Registerer: registry, TLS: files}
	}
	if _, err := NewServer(options(TLSFiles{})); err != nil {
		t.Fatal(err)
	}
	if _, err := NewServer(options(TLSFiles{})); err == nil {
		t.Error("metrics are registered twice")
	}
	registry = newTestRegistry()
	if _, err := NewServer(options(TLSFiles{Cert: "nowhere", Key: "nowhere"})); err == nil {
		t.Error("TLS files are nowhere")
	}
}
