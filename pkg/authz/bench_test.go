package authz

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/protobuf/proto"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/hack/testbin"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/ratelimit"
	"keygate.dev/keygate/pkg/usage"
)

// browserHeader is what else comes with a request.
var browserHeader = []Field{
	{":scheme", "https"}, {"accept", "application/json"}, {"accept-encoding", "gzip, deflate, br, zstd"},
	{"accept-language", "en-GB,en;q=0.9"}, {"cache-control", "no-cache"}, {"content-type", "application/json"},
	{"user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"},
	{"x-forwarded-for", "203.0.113.7"}, {"x-forwarded-proto", "https"}, {"x-envoy-internal", "true"},
}

func BenchmarkDecide(b *testing.B) {
	for name, r := range map[string]*Request{
		"allow":     request(browserHeader...),
		"anonymous": bare("GET", "/v1/status", Field{"x-request-id", "req-1"}),
		"missing":   bare("GET", "/v1/stepsies", Field{"x-request-id", "req-1"}),
		"unknown":   bare("GET", "/v1/me", Field{"x-api-key", "sk_x"}, Field{"x-request-id", "req-1"}),
		"scope":     bare("POST", "/v1/stepsies", Field{"x-api-key", token}, Field{"x-request-id", "req-1"}),
	} {
		b.Run(name, func(b *testing.B) {
			f := newFixture(b)
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				f.Decide(ctx, r)
			}
		})
	}
}

// BenchmarkAnswer is all of a decision but gRPC: parse, decide, answer, encode.
func BenchmarkAnswer(b *testing.B) {
	for name, r := range map[string]*Request{
		"allow":        request(browserHeader...),
		"cookie":       request(append(browserHeader[:len(browserHeader):len(browserHeader)], Field{"cookie", strings.Repeat("c", 2<<10)})...),
		"few":          request(Field{"content-type", "application/json"}, Field{"x-forwarded-proto", "https"}), // allowed_headers
		"unknown":      bare("GET", "/v1/me", append(browserHeader, Field{"x-api-key", "sk_x"}, Field{"x-request-id", "req-1"})...),
		"query":        bare("GET", "/v1/me?api_key="+token, append(browserHeader, Field{"x-request-id", "req-1"})...),
		"gRPC":         bare("POST", "/v1/stepsies", Field{"content-type", "application/grpc"}, Field{"x-api-key", token}),
		"allow, noted": request(browserHeader...),
	} {
		b.Run(name, func(b *testing.B) {
			f := newFixtureWith(b, inQueries)
			observer, err := newObserver(discard(), LogNone, newTestRegistry())
			if err != nil {
				b.Fatal(err)
			}
			s := &service{decider: f.Decider, answers: &answers{policies: f.Policies}, observer: observer}
			if strings.Contains(name, "noted") {
				s.witness = newNotes()
			}
			data, err := proto.Marshal(envoyRequest(r, true))
			if err != nil {
				b.Fatal(err)
			}
			in := &checkRequest{message: data}
			b.ReportAllocs()
			for b.Loop() {
				in.reset()
				if _, err := s.check(context.Background(), in).encode(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// notes is a Witness that notes uses as extauthz does.
type notes struct{ *usage.Collector }

func newNotes() notes { return notes{usage.NewCollector(1000)} }

func (notes) Refused(*apikey.Record, string, netip.Addr, time.Time) {}

// stock is a server as grpc-go makes it, that allows everything without looking.
type stock struct {
	authv3.UnimplementedAuthorizationServer
}

func (stock) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{
		Status:       &rpcstatus.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
	}, nil
}

// BenchmarkCheck asks over TCP on loopback: Keygate allowing a key, denying one, and
// allowing one whose requests are counted in memory or in Redis; and a stock grpc-go
// server.
func BenchmarkCheck(b *testing.B) {
	in := envoyRequest(request(browserHeader...), true)
	keygate := func(f func(testing.TB) *fixture) func(*testing.B, net.Listener) {
		return func(b *testing.B, lis net.Listener) {
			serveOn(b, lis, ServerOptions{Decider: f(b).Decider, Log: discard()})
		}
	}
	for name, serve := range map[string]func(*testing.B, net.Listener){
		"keygate": keygate(newFixture),
		"noted": func(b *testing.B, lis net.Listener) {
			serveOn(b, lis, ServerOptions{Decider: newFixture(b).Decider, Log: discard(), Witness: newNotes()})
		},
		"denial": keygate(func(tb testing.TB) *fixture {
			f := newFixture(tb)
			f.record.Scopes = nil
			return f
		}),
		"limit-memory": keygate(func(tb testing.TB) *fixture {
			memory := ratelimit.NewMemory(ratelimit.Options{})
			tb.Cleanup(memory.Close)
			return newCountedFixture(tb, memory)
		}),
		"limit-redis": keygate(func(tb testing.TB) *fixture { return newCountedFixture(tb, newRedis(tb)) }),
		"stock":       serveStock,
	} {
		for load, parallel := range map[string]bool{"alone": false, "parallel": true} {
			b.Run(name+"/"+load, func(b *testing.B) { benchmarkServer(b, in, serve, parallel) })
		}
	}
}

// serveStock serves the stock server.
func serveStock(b *testing.B, lis net.Listener) {
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, stock{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(lis) }()
	b.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
}

// newCountedFixture counts the requests of the fixture's key in two windows that no
// benchmark fills.
func newCountedFixture(tb testing.TB, limiter Limiter) *fixture {
	f := newFixtureWith(tb, func(spec *v1alpha1.APIKeyPolicySpec) {
		plans(spec)
		spec.Plans[0].Limits = []v1alpha1.Limit{limit(1_000_000_000, "1s"), limit(1_000_000_000, "1h")}
	})
	f.record.Plan, f.Limiter = "free", limiter
	return f
}

// newRedis is a limiter on a Redis of its own, on a socket.
func newRedis(tb testing.TB) *ratelimit.Redis {
	tb.Helper()
	program, err := testbin.Redis(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	socket := filepath.Join(tb.TempDir(), "redis.sock")
	server := exec.Command(program, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no")
	if err := server.Start(); err != nil {
		tb.Fatal(err)
	}
	limiter, err := ratelimit.NewRedis(ratelimit.RedisOptions{URL: "unix://" + socket, Timeout: time.Second, Log: discard()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = errors.Join(limiter.Close(), server.Process.Kill(), server.Wait()) })
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(10 * time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			return limiter
		} else if time.Now().After(deadline) {
			tb.Fatal(err)
		}
	}
}

// benchmarkServer measures calls of a server over one connection: one after
// another, or 64 at a time.
func benchmarkServer(b *testing.B, in *authv3.CheckRequest, serve func(*testing.B, net.Listener), parallel bool) {
	lis, err := Listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	serve(b, lis)
	conn, err := grpc.NewClient("passthrough:///"+lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := conn.Close(); err != nil {
			b.Error(err)
		}
	})
	message, err := proto.Marshal(in)
	if err != nil {
		b.Fatal(err)
	}
	// The asker is Envoy, not Go: what reading its messages costs here is left out.
	raw := grpc.ForceCodecV2(rawCodec{encoding.GetCodecV2("proto")})
	call := func() {
		if err := conn.Invoke(context.Background(), "/"+ServiceName+"/Check", message, nil, raw); err != nil {
			b.Error(err)
		}
	}
	out, err := authv3.NewAuthorizationClient(conn).Check(b.Context(), in)
	name := b.Name()
	if err != nil || (out.GetOkResponse() == nil) != strings.Contains(name, "denial") ||
		(len(out.GetOkResponse().GetResponseHeadersToAdd()) > 0) != strings.Contains(name, "limit") {
		b.Fatalf("got %v, %v", out, err)
	}
	b.ReportAllocs()
	if !parallel {
		for b.Loop() {
			call()
		}
		return
	}
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			call()
		}
	})
}
