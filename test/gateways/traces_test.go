package gateways

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"keygate.dev/keygate/test/rig"
)

// spans is an OpenTelemetry collector that keeps what it gets.
type spans struct {
	collector.UnimplementedTraceServiceServer
	mu sync.Mutex
	// by maps the name of a service to its spans.
	by map[string][]*tracev1.Span
}

func (s *spans) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range r.GetResourceSpans() {
		for _, a := range resource.GetResource().GetAttributes() {
			if a.GetKey() != "service.name" {
				continue
			}
			for _, scope := range resource.GetScopeSpans() {
				s.by[a.GetValue().GetStringValue()] = append(s.by[a.GetValue().GetStringValue()], scope.GetSpans()...)
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// of are the spans of a service so far.
func (s *spans) of(service string) []*tracev1.Span {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*tracev1.Span(nil), s.by[service]...)
}

// collect runs a collector until the test ends, and returns where.
func collect(t *testing.T) (*spans, string) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all, server := &spans{by: map[string][]*tracev1.Span{}}, grpc.NewServer()
	collector.RegisterTraceServiceServer(server, all)
	go func() { _ = server.Serve(lis) }() // ends with Stop
	t.Cleanup(server.Stop)
	return all, lis.Addr().String()
}

// traced is a bootstrap with the two pieces of docs/envoy.md, "Traces".
func traced(t *testing.T, config, collector string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(rig.Root(), "docs", "envoy.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Traces\n")
	pieces := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(pieces) != 2 {
		t.Fatalf("docs/envoy.md has %d pieces for traces", len(pieces))
	}
	const filters, clusters = "          http_filters:\n", "  clusters:\n"
	return rig.Edit(t, config, [2]string{filters, rig.Edit(t, pieces[0][1], [2]string{"{value: 1} # percent", "{value: 100}"}) + filters},
		[2]string{clusters, clusters + rig.Edit(t, pieces[1][1],
			[2]string{"{socket_address: {address: otel-collector.observability.svc.cluster.local, port_value: 4317}}", socketAddress(t, collector)})})
}

// TestTraces: the span of a Check that extauthz exports is in the trace of the request,
// below a span of Envoy's, and says what was decided, without the key.
func TestTraces(t *testing.T) {
	keys := tokens(t)
	all, address := collect(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+address)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "100") // ms
	p := &plain{extauthz: stack.StartExtauthz(t, "--tracing")}
	p.start(t, traced(t, withoutTLS(t, bootstrap(t, p.extauthz.Address)), address))

	for name, token := range map[string]string{"allowed": keys["read"], "invalid_key": "sk_live_unknown", "missing_key": ""} {
		t.Run(name, func(t *testing.T) {
			trace := strings.Repeat(fmt.Sprintf("%02x", name[0]), 16)
			p.do(t, "/v1/stepsies", token, map[string][]string{"Traceparent": {"00-" + trace + "-b7ad6b7169203331-01"}})
			rig.Eventually(t, func() string { return joined(all, trace, name) })
			if said := fmt.Sprint(all.of("keygate-extauthz")); token != "" && strings.Contains(said, token) {
				t.Error("the key is in a span")
			}
		})
	}
}

// joined says what is lacking of a trace with a reason.
func joined(all *spans, trace, reason string) string {
	parents := map[string]bool{}
	for _, span := range all.of("envoy") {
		if fmt.Sprintf("%x", span.GetTraceId()) == trace {
			parents[string(span.GetSpanId())] = true
		}
	}
	for _, span := range all.of("keygate-extauthz") {
		if fmt.Sprintf("%x", span.GetTraceId()) != trace || !parents[string(span.GetParentSpanId())] {
			continue
		}
		for _, a := range span.GetAttributes() {
			if a.GetKey() == "keygate.reason" && a.GetValue().GetStringValue() == reason {
				return ""
			}
		}
		return fmt.Sprintf("the span says %v, not %s", span.GetAttributes(), reason)
	}
	return fmt.Sprintf("of the trace %s there are %d spans of Envoy, and none of extauthz below them", trace, len(parents))
}
