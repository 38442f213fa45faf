package authz

import (
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// TestTrace reads what a span tells of a decision.
func TestTrace(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	f := newFixture(t)
	s := start(t, f, func(o *ServerOptions) {
		o.Trace = otelgrpc.NewServerHandler(otelgrpc.WithTracerProvider(provider))
	})
	s.check(t, envoyRequest(request(), false))
	s.stop() // a span ends after its answer
	s.grpc.GracefulStop()
	ended := recorder.Ended()
	if len(ended) != 1 {
		t.Fatalf("%d spans, want 1", len(ended))
	}
	got := map[string]string{}
	for _, a := range ended[0].Attributes() {
		got[string(a.Key)] = a.Value.String()
	}
	for name, want := range map[string]string{"keygate.reason": "allowed", "keygate.allow": "true", "keygate.policy": "platform/stepsies"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if got["keygate.key_id"] == "" {
		t.Error("the span does not name the key")
	}
	if strings.Contains(fmt.Sprint(ended), token) {
		t.Error("the token is in the span")
	}
}
