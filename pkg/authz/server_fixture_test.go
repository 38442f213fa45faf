package authz

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// testServer is a Server on an in-memory listener, and what can be seen of it.
type testServer struct {
	*Server
	conn    *grpc.ClientConn
	client  authv3.AuthorizationClient
	metrics *prometheus.Registry
	log     *bytes.Buffer
	lis     *bufconn.Listener
	// stop begins the end; served is what Serve returned.
	stop   context.CancelFunc
	served chan error
}

// start serves the fixture. It ends with the test.
func start(tb testing.TB, f *fixture, change func(*ServerOptions)) *testServer {
	tb.Helper()
	s := &testServer{
		metrics: prometheus.NewRegistry(), log: &bytes.Buffer{},
		lis: bufconn.Listen(1 << 20), served: make(chan error, 1),
	}
	o := ServerOptions{
		Decider: f.Decider, Decisions: LogAll, DrainTimeout: 5 * time.Second,
		Log: slog.New(slog.NewJSONHandler(s.log, nil)), Registerer: s.metrics,
	}
	if change != nil {
		change(&o)
	}
	var err error
	if s.Server, err = NewServer(o); err != nil {
		tb.Fatal(err)
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	go func() { s.served <- s.Serve(ctx, s.lis) }()
	s.conn, err = grpc.NewClient("passthrough:///keygate",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.lis.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	s.client = authv3.NewAuthorizationClient(s.conn)
	tb.Cleanup(func() {
		s.stop()
		if err := s.conn.Close(); err != nil {
			tb.Error(err)
		}
		if err := <-s.served; err != nil {
			tb.Error(err)
		}
	})
	return s
}

// check asks the server and fails the test on an RPC error.
func (s *testServer) check(tb testing.TB, in *authv3.CheckRequest) *authv3.CheckResponse {
	tb.Helper()
	out, err := s.client.Check(tb.Context(), in)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// count is the value of a counter or gauge with these label values, in order of
// the labels' names.
func (s *testServer) count(tb testing.TB, name string, labels ...string) float64 {
	tb.Helper()
	families, err := s.metrics.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetValue())
			}
			if cmp.Equal(have, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// envoyRequest is r as Envoy sends it, by default or with encode_raw_headers.
func envoyRequest(r *Request, raw bool) *authv3.CheckRequest {
	http := &authv3.AttributeContext_HttpRequest{
		Id: "1234", Method: r.Method, Path: r.Path, Host: r.Host, Scheme: "https", Protocol: "HTTP/1.1", Size: -1,
	}
	if raw {
		http.HeaderMap = &corev3.HeaderMap{}
		for _, f := range r.Header {
			http.HeaderMap.Headers = append(http.HeaderMap.Headers, &corev3.HeaderValue{Key: f.Name, RawValue: []byte(f.Value)})
		}
	} else {
		http.Headers = map[string]string{}
		for _, f := range r.Header {
			if have, ok := http.Headers[f.Name]; ok {
				f.Value = have + "," + f.Value
			}
			http.Headers[f.Name] = f.Value
		}
	}
	in := &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: http}}}
	if r.Policy != "" {
		in.Attributes.ContextExtensions = map[string]string{"keygate.dev/policy": r.Policy}
	}
	return in
}

// set is the headers of an answer, all of which must overwrite.
func set(tb testing.TB, options []*corev3.HeaderValueOption) map[string]string {
	tb.Helper()
	out := map[string]string{}
	for _, o := range options {
		name := o.GetHeader().GetKey()
		if _, twice := out[name]; twice {
			tb.Errorf("%s is set twice", name)
		}
		if o.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			tb.Errorf("%s does not overwrite", name)
		}
		out[name] = o.GetHeader().GetValue()
	}
	return out
}
