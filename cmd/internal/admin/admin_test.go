package admin

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestHandler(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "there_is_one"}))
	ready := false
	for name, tc := range map[string]struct {
		path     string
		ready    bool
		profiles bool
		status   int
		body     string
	}{
		"alive":            {"/healthz", false, false, 200, "ok"},
		"not ready":        {"/readyz", false, false, 503, "not ready"},
		"ready":            {"/readyz", true, false, 200, "ok"},
		"metrics":          {"/metrics", false, false, 200, "there_is_one"},
		"profiles unasked": {"/debug/pprof/cmdline", true, false, 404, ""},
		"profiles asked":   {"/debug/pprof/cmdline", true, true, 200, ""},
		"anything else":    {"/", true, true, 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ready = tc.ready
			w := httptest.NewRecorder()
			Handler(func() bool { return ready }, registry, tc.profiles).ServeHTTP(w, httptest.NewRequest(http.MethodGet, tc.path, nil))
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.body) {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		})
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Serve(ctx, lis, http.NotFoundHandler()) }()
	resp, err := http.Get("http://" + lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := http.Get("http://" + lis.Addr().String()); err == nil {
		t.Error("it still answers")
	}
}
