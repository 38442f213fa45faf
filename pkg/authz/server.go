package authz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
)

// What a connection may do. Envoy keeps one per worker thread.
const (
	// maxConcurrentStreams: Envoy opens another connection beyond.
	maxConcurrentStreams = 1000
	// maxConnectionAge: replicas that came later get their share of the load.
	maxConnectionAge      = 5 * time.Minute
	maxConnectionAgeGrace = 30 * time.Second
	// minPingInterval is well below Envoy's 30 s, so that its pings never earn a
	// GOAWAY with too_many_pings.
	minPingInterval = 5 * time.Second
	// maxMessage is the largest CheckRequest, in bytes. Above it there can be no answer
	// but an RPC error, which Envoy lets through where it is set to
	// failure_mode_allow: it is far more than Envoy sends of a request's body.
	maxMessage = 64 << 20
	// handshakeTimeout bounds TLS and HTTP/2 handshakes.
	handshakeTimeout = 10 * time.Second
	// pingInterval and pingTimeout find peers that are gone.
	pingInterval = time.Minute
	pingTimeout  = 20 * time.Second
)

// healthInterval is how often the health service looks at the sync state.
const healthInterval = 100 * time.Millisecond

// ServerOptions make a [Server].
type ServerOptions struct {
	// Decider judges. All of its needed fields are set.
	Decider *Decider
	// TLS of the listener; zero: none.
	TLS TLSFiles
	// MaxBodyBytes is the longest body of a denial; a longer one is left out. Set it
	// as Envoy's max_denied_response_body_bytes, which would cut. 0: no limit.
	MaxBodyBytes int
	// TrustForwardedProto takes a request for one over TLS also where x-forwarded-proto
	// is https: for an Envoy behind a load balancer that ends TLS and sets that header.
	// Where there is no such balancer, callers can write it themselves.
	TrustForwardedProto bool
	// ClientAddress is where the client's address is read; "": of the peer.
	ClientAddress ClientAddress
	// Witness is told of keys that are used; nil: nobody is.
	Witness Witness
	// Decisions says which decisions get a log line; "": none.
	Decisions DecisionLog
	// DrainDelay is the time from NOT_SERVING to the refusal of new calls, in which
	// Envoy notices.
	DrainDelay time.Duration
	// DrainTimeout bounds the wait for the calls that are left.
	DrainTimeout time.Duration
	// Trace makes a span of each call, such as one of OpenTelemetry's gRPC
	// instrumentation; nil: no spans.
	Trace stats.Handler
	// Log is where failures and decisions are told.
	Log *slog.Logger
	// Registerer takes the metrics.
	Registerer prometheus.Registerer
}

// Server is the gRPC server that Envoy asks.
type Server struct {
	options  ServerOptions
	grpc     *grpc.Server
	health   *health.Server
	draining atomic.Bool
}

// NewServer makes a server. The error is that of TLS files that can't be used or
// of metrics that are registered already.
func NewServer(o ServerOptions) (*Server, error) {
	observer, err := newObserver(o.Log, o.Decisions, o.Registerer)
	if err != nil {
		return nil, err
	}
	creds, err := o.TLS.Credentials(o.Log, o.Registerer)
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, health: health.NewServer(), grpc: grpc.NewServer(grpcOptions(&o, creds, observer)...)}
	s.grpc.RegisterService(&serviceDesc, &service{
		decider:  o.Decider,
		answers:  &answers{policies: o.Decider.Policies, maxBody: o.MaxBodyBytes},
		observer: observer,

		witness: o.Witness,
		trust:   trust{forwardedProto: o.TrustForwardedProto, client: o.ClientAddress},
	})
	healthpb.RegisterHealthServer(s.grpc, s.health)
	s.setHealth(healthpb.HealthCheckResponse_NOT_SERVING)
	return s, nil
}

// grpcOptions are those of the gRPC server.
func grpcOptions(o *ServerOptions, creds credentials.TransportCredentials, observer *observer) []grpc.ServerOption {
	options := []grpc.ServerOption{
		grpc.Creds(clearingCredentials{creds}),
		grpc.ForceServerCodecV2(newCodec()),
		experimental.BufferPool(newClearingPool()),
		grpc.ReadBufferSize(0),                                   // clearingConn has its own
		grpc.NumStreamWorkers(uint32(4 * runtime.GOMAXPROCS(0))), // stacks stay grown
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxConcurrentStreams),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPingInterval, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: maxConnectionAge, MaxConnectionAgeGrace: maxConnectionAgeGrace,
			Time: pingInterval, Timeout: pingTimeout,
		}),
		grpc.ChainUnaryInterceptor(recoverUnary(observer)),
	}
	if o.Trace != nil {
		options = append(options, grpc.StatsHandler(o.Trace))
	}
	return options
}

// recoverUnary turns a panic in a handler other than Check's, which has its own
// answer to it, into an error.
func recoverUnary(o *observer) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (_ any, err error) {
		defer func() {
			if cause := recover(); cause != nil {
				o.panicked(ctx, cause)
				err = status.Error(codes.Internal, "internal error")
			}
		}()
		return handler(ctx, req)
	}
}

// Ready reports whether requests are decided: the store is synced and the server
// is not draining.
func (s *Server) Ready() bool { return s.options.Decider.Synced() && !s.draining.Load() }

// Serve answers on lis until ctx ends, then drains: it reports NOT_SERVING, goes on
// answering for the drain delay, refuses new calls, and waits for the others up to
// the drain timeout. It closes lis. The error is that of a listener that failed. A
// Server serves once.
func (s *Server) Serve(ctx context.Context, lis net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(lis) }()
	followed := make(chan struct{})
	following, stopFollowing := context.WithCancel(ctx)
	go func() { defer close(followed); s.followSync(following) }()
	defer func() { stopFollowing(); <-followed }()

	select {
	case err := <-served:
		s.grpc.Stop()
		return fmt.Errorf("serve gRPC: %w", err)
	case <-ctx.Done():
	}
	s.drain()
	if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve gRPC: %w", err)
	}
	return nil
}

// drain ends the server as [Server.Serve] says.
func (s *Server) drain() {
	s.draining.Store(true)
	s.health.Shutdown()
	s.options.Log.Info("draining", "delay", s.options.DrainDelay, "timeout", s.options.DrainTimeout)
	<-time.After(s.options.DrainDelay)
	late := time.AfterFunc(s.options.DrainTimeout, func() {
		s.options.Log.Warn("calls were still open at the end of the drain timeout")
		s.grpc.Stop()
	})
	defer late.Stop()
	s.grpc.GracefulStop()
}

// followSync lets the health service follow the store's sync state until ctx ends.
func (s *Server) followSync(ctx context.Context) {
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	last := healthpb.HealthCheckResponse_NOT_SERVING
	for {
		now := healthpb.HealthCheckResponse_NOT_SERVING
		if s.options.Decider.Synced() {
			now = healthpb.HealthCheckResponse_SERVING
		}
		if now != last {
			s.setHealth(now)
			last = now
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// setHealth sets the health of the server as a whole and of the service.
func (s *Server) setHealth(status healthpb.HealthCheckResponse_ServingStatus) {
	s.health.SetServingStatus("", status)
	s.health.SetServingStatus(ServiceName, status)
}
