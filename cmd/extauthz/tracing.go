package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc/filters"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"google.golang.org/grpc/stats"
)

// tracingEnd bounds the export of the last spans.
const tracingEnd = 5 * time.Second

// newTracing makes spans of Checks and exports them, where it is asked to. A span's
// parent is the one that Envoy names in the call's traceparent (W3C Trace Context);
// what Envoy does not sample is not recorded. end exports what is left.
func newTracing(ctx context.Context, on bool, log *slog.Logger) (handler stats.Handler, end func(), err error) {
	if !on {
		return nil, func() {}, nil
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("spans could not be exported", "error", err) }))
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("export spans: %w", err)
	}
	// OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME, read last, win.
	about, err := resource.New(ctx, resource.WithAttributes(semconv.ServiceName("keygate-extauthz")), resource.WithFromEnv())
	if err != nil {
		return nil, nil, fmt.Errorf("describe this process to traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	handler = otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(provider),
		otelgrpc.WithPropagators(propagation.TraceContext{}),
		otelgrpc.WithFilter(filters.Not(filters.HealthCheck())),
	)
	return handler, func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracingEnd)
		defer cancel()
		if err := provider.Shutdown(late); err != nil {
			log.Warn("the last spans could not be exported", "error", err)
		}
	}, nil
}
