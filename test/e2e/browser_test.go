package e2e

import (
	"net/http"
	"testing"
)

// TestRequireTLS: judged by the listener that a request came through, whatever it
// says of itself.
func TestRequireTLS(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "secure", plainPolicy(host)+"\nrequireTLS: true\npreflight: Allow")
	token := s.key(t, ns, "caller", "policyRef: {name: secure}")
	claims := map[string][]string{
		"X-Forwarded-Proto": {"https"}, "X-Forwarded-Scheme": {"https"}, "X-Forwarded-Ssl": {"on"}, "X-Forwarded-Port": {"443"},
		"Forwarded": {"proto=https"}, "X-Envoy-Internal": {"true"}, "Front-End-Https": {"on"},
	}
	for name, tc := range map[string]struct {
		call   call
		status int
		reason string
	}{
		"plain":                     {call{path: "/any", token: token}, 403, "tls_required"},
		"plain, without a key":      {call{path: "/any"}, 403, "tls_required"},
		"plain, anonymous":          {call{path: "/open/1"}, 403, "tls_required"},
		"plain, no rule":            {call{path: "/none"}, 403, "tls_required"},
		"plain, preflight":          {preflight("/any"), 403, "tls_required"},
		"plain, claiming TLS":       {call{path: "/any", token: token, header: claims}, 403, "tls_required"},
		"over TLS":                  {call{path: "/any", token: token, secure: true}, 200, ""},
		"over TLS, saying HTTP":     {call{path: "/any", token: token, secure: true, header: map[string][]string{"X-Forwarded-Proto": {"http"}}}, 200, ""},
		"over TLS, without a key":   {call{path: "/any", secure: true}, 401, "missing_key"},
		"malformed is said earlier": {call{path: "//any", token: token}, 400, "malformed_request"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.call.host = host
			a := s.do(t, tc.call)
			if a.status != tc.status || tc.reason != "" && a.reason(t) != tc.reason {
				t.Errorf("got %s", a)
			}
		})
	}
}

// preflight is what a browser asks before it sends a key.
func preflight(path string) call {
	return call{method: http.MethodOptions, path: path, header: map[string][]string{
		"Origin": {"https://app.test"}, "Access-Control-Request-Method": {"PUT"}, "Access-Control-Request-Headers": {"authorization"},
	}}
}

// TestPreflight: let through to the upstream, as nobody; only where the policy says so.
func TestPreflight(t *testing.T) {
	s, open, closed := shared, newHost(), newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "open", plainPolicy(open)+"\npreflight: Allow")
	s.policy(t, ns, "closed", plainPolicy(closed))
	c := preflight("/things/1?x")
	c.host, c.header["X-Apikey-Name"] = open, []string{"spoofed"}
	c.token = "pk_unknown"
	e := s.do(t, c).echo(t)
	if e.Method != http.MethodOptions || e.Path != "/things/1?x" || e.first("origin") != "https://app.test" {
		t.Errorf("the upstream got %+v", e)
	}
	if e.first("x-apikey-name") != "" || e.first("authorization") != "" {
		t.Errorf("the upstream is told of %v", e.Headers)
	}
	c.host = closed
	if a := s.do(t, c); a.status != http.StatusForbidden || a.reason(t) != "no_rule" {
		t.Errorf("got %s", a)
	}
	c.host = open
	delete(c.header, "Access-Control-Request-Method")
	if a := s.do(t, c); a.status != http.StatusForbidden || a.reason(t) != "no_rule" {
		t.Errorf("not a preflight: %s", a)
	}
}
