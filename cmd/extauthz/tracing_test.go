package main

import (
	"context"
	"log/slog"
	"net"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// spans is an OpenTelemetry collector that keeps what it gets.
type spans struct {
	collector.UnimplementedTraceServiceServer
	got chan *tracev1.ResourceSpans
}

func (s *spans) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	for _, each := range r.GetResourceSpans() {
		s.got <- each
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// serve serves gRPC on a free port and returns a connection to it.
func serve(t *testing.T, server *grpc.Server) *grpc.ClientConn {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(lis) }() // ends with Stop
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestTracing exports the span of a call, as a child of the caller's.
func TestTracing(t *testing.T) {
	all := &spans{got: make(chan *tracev1.ResourceSpans, 10)}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, all)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+serve(t, server).Target())
	handler, end, err := newTracing(t.Context(), true, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	traced := grpc.NewServer(grpc.StatsHandler(handler))
	authv3.RegisterAuthorizationServer(traced, authv3.UnimplementedAuthorizationServer{})
	conn := serve(t, traced)
	for _, sampled := range []string{"00", "01"} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"+sampled)
		_, _ = authv3.NewAuthorizationClient(conn).Check(ctx, &authv3.CheckRequest{})            // Unimplemented is an answer, too
		_, _ = healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{}) // must not be traced
	}
	traced.GracefulStop() // a span ends after the caller has its answer
	end()
	close(all.got)
	var got []*tracev1.ResourceSpans
	for each := range all.got {
		got = append(got, each)
	}
	if len(got) != 1 || len(got[0].GetScopeSpans()) != 1 || len(got[0].GetScopeSpans()[0].GetSpans()) != 1 {
		t.Fatalf("want the one sampled span, got %v", got)
	}
	span := got[0].GetScopeSpans()[0].GetSpans()[0]
	if span.GetName() != "envoy.service.auth.v3.Authorization/Check" || span.GetTraceId()[0] != 0x0a || span.GetParentSpanId()[0] != 0xb7 {
		t.Errorf("the span is not the child of Envoy's: %v", span)
	}
	for _, a := range got[0].GetResource().GetAttributes() {
		if a.GetKey() == "service.name" && a.GetValue().GetStringValue() == "keygate-extauthz" {
			return
		}
	}
	t.Errorf("the resource has no service.name: %v", got[0].GetResource())
}

// TestNoTracing: who does not ask for spans gets none, and needs no collector.
func TestNoTracing(t *testing.T) {
	handler, end, err := newTracing(t.Context(), false, slog.New(slog.DiscardHandler))
	if handler != nil || err != nil {
		t.Errorf("got %v, %v", handler, err)
	}
	end()
}
