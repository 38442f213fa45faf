package gateways

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"keygate.dev/keygate/test/rig"
)

// slowly answers each Check after a time, with a denial, and counts them.
type slowly struct {
	authv3.UnimplementedAuthorizationServer
	after  time.Duration
	checks atomic.Int32
}

func (s *slowly) Check(ctx context.Context, _ *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	s.checks.Add(1)
	select {
	case <-time.After(s.after):
		return &authv3.CheckResponse{Status: status.New(codes.PermissionDenied, "").Proto()}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestSlowCheck: Envoy waits for a Check that is slow, but within its timeout, and asks
// once. The longest pause between tries bounds each try too (envoy#38847).
func TestSlowCheck(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	slow := &slowly{after: 100 * time.Millisecond}
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, slow)
	healthpb.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(lis) }() // ends with Stop
	t.Cleanup(server.Stop)

	p := &plain{}
	p.start(t, rig.Edit(t, withoutTLS(t, bootstrap(t, lis.Addr().String())), [2]string{slowTry, shippedTry}))
	if a := p.do(t, "/v1/stepsies", "", nil); a.Status != http.StatusForbidden {
		t.Errorf("got %s", a)
	}
	if n := slow.checks.Load(); n != 1 {
		t.Errorf("extauthz was asked %d times", n)
	}
}

// withoutTLS is a bootstrap without the transport socket to extauthz.
func withoutTLS(t *testing.T, config string) string {
	t.Helper()
	const end = "    load_assignment:\n      cluster_name: extauthz\n"
	before, rest, found := strings.Cut(config, "    # Mutual TLS:")
	_, after, foundEnd := strings.Cut(rest, end)
	if !found || !foundEnd {
		t.Fatal("there is no mutual TLS to leave out")
	}
	return before + end + after
}
