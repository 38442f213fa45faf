package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// plainPolicy is a policy without error bodies, for one host.
func plainPolicy(host string) string {
	return `
hosts: [` + host + `]
environments: [{name: live, prefix: pk_}]
scopes: [{name: read}, {name: write}, {name: admin, includes: [read, write]}]
rules:
- {methods: [GET], paths: ["/things/{id}"], scopes: [read]}
- {methods: [POST], paths: ["/things/{id}"], scopes: [read, write]}
- {methods: [PUT], paths: ["/things/{id}"], anyScope: [write, admin]}
- {paths: ["/any"], anyKey: true}
- {paths: ["/open/{rest...}"], anonymous: true}`
}

// TestProblemDocuments: without a template a denial is a problem document (RFC
// 9457) with a challenge (RFC 6750, section 3).
func TestProblemDocuments(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	reader := s.key(t, ns, "reader", "policyRef: {name: plain}\nscopes: [read]")

	for name, tc := range map[string]struct {
		call      call
		status    int
		title     string
		reason    string
		challenge string
		also      map[string]any
	}{
		"missing key": {
			call{path: "/things/1"}, 401, "Unauthorized", "missing_key", `Bearer realm="plain"`, nil,
		},
		"malformed key": {
			call{path: "/things/1", header: map[string][]string{"Authorization": {"Bearer a b"}}},
			401, "Unauthorized", "malformed_key", `Bearer realm="plain", error="invalid_token"`, nil,
		},
		"unknown key": {
			call{path: "/things/1", token: "pk_" + strings.Repeat("0", 40)},
			401, "Unauthorized", "invalid_key", `Bearer realm="plain", error="invalid_token"`, nil,
		},
		"insufficient scope": {
			call{method: "POST", path: "/things/1", token: reader},
			403, "Forbidden", "insufficient_scope", `Bearer realm="plain", error="insufficient_scope", scope="read write"`,
			map[string]any{"requiredScopes": "read write"},
		},
		"insufficient scope, any of several": {
			call{method: "PUT", path: "/things/1", token: reader},
			403, "Forbidden", "insufficient_scope", `Bearer realm="plain", error="insufficient_scope", scope="write admin"`,
			map[string]any{"requiredScopes": "write admin"},
		},
		"no rule for the path": {
			call{path: "/things", token: reader}, 403, "Forbidden", "no_rule", "", nil,
		},
		"no rule for the method": {
			call{method: "DELETE", path: "/things/1", token: reader}, 403, "Forbidden", "no_rule", "", nil,
		},
		"malformed path": {
			call{path: "/things//1", token: reader}, 400, "Bad Request", "malformed_request", "", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.call.host = host
			tc.call.header = withRequestID(tc.call.header)
			a := s.do(t, tc.call)
			if got := a.header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("Content-Type: %q", got)
			}
			if got := a.header.Get("WWW-Authenticate"); got != tc.challenge {
				t.Errorf("WWW-Authenticate: %q, want %q", got, tc.challenge)
			}
			body, _ := a.jsonBody(t).(map[string]any)
			if detail, _ := body["detail"].(string); detail == "" {
				t.Errorf("no detail in %s", a.body)
			}
			want := map[string]any{
				"type": "about:blank", "title": tc.title, "status": float64(tc.status),
				"detail": body["detail"], "reason": tc.reason, "requestId": "req-1",
			}
			for name, value := range tc.also {
				want[name] = value
			}
			if diff := cmp.Diff(want, body); a.status != tc.status || diff != "" {
				t.Errorf("status %d, want %d; body (-want +got):\n%s", a.status, tc.status, diff)
			}
		})
	}
	t.Run("no policy", func(t *testing.T) {
		a := s.do(t, call{host: "nobody.e2e.test", path: "/"})
		if a.status != http.StatusForbidden || a.reason(t) != "no_policy" {
			t.Errorf("got %s", a)
		}
	})
}

func withRequestID(header map[string][]string) map[string][]string {
	out := map[string][]string{"X-Request-Id": {"req-1"}}
	for name, values := range header {
		out[name] = values
	}
	return out
}

// TestRequestID: the caller's is used if it is sound, else one is made; either way
// it is returned.
func TestRequestID(t *testing.T) {
	s := shared
	for sent, keep := range map[string]bool{"abc-1.2_3": true, `"><script>`: false, strings.Repeat("x", 129): false, "": false} {
		a := s.do(t, call{host: "nobody.e2e.test", path: "/", header: map[string][]string{"X-Request-Id": {sent}}})
		body, _ := a.jsonBody(t).(map[string]any)
		got, _ := body["requestId"].(string)
		if got == "" || (got == sent) != keep {
			t.Errorf("sent %q, the body has %q", sent, got)
		}
		if header := a.header.Get("X-Request-Id"); header != got {
			t.Errorf("sent %q, the header has %q, the body %q", sent, header, got)
		}
	}
}

// TestUnknownRevokedSuspendedExpiredAreAlike compares whole answers: a caller
// cannot learn which keys exist.
func TestUnknownRevokedSuspendedExpiredAreAlike(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	s.policy(t, ns, "other", plainPolicy(newHost()))
	tokens := map[string]string{"unknown": "pk_" + strings.Repeat("z", 40)}
	for name, spec := range map[string]string{
		"revoked": "policyRef: {name: plain}", "suspended": "policyRef: {name: plain}", "other": "policyRef: {name: other}",
		"deleted": "policyRef: {name: plain}", "expired": "policyRef: {name: plain}",
	} {
		tokens[name] = s.key(t, ns, name, spec)
	}
	s.patch(t, ns, "revoked", `{"spec":{"state":"Revoked"}}`)
	s.patch(t, ns, "suspended", `{"spec":{"state":"Suspended"}}`)
	s.patch(t, ns, "expired", `{"spec":{"expiresAt":"2001-01-01T00:00:00Z"}}`)
	s.kubectl(t, "delete", "apikey", "-n", ns, "deleted")
	shape := func(a answer) string {
		h := a.header.Clone()
		h.Del("Date")
		h.Del("X-Envoy-Upstream-Service-Time")
		var b strings.Builder
		_ = h.Write(&b)
		return b.String() + string(a.body)
	}
	var want string
	for _, name := range []string{"unknown", "revoked", "suspended", "expired", "other", "deleted"} {
		c := call{host: host, path: "/any", token: tokens[name], header: withRequestID(nil)}
		got := shape(s.becomes(t, c, http.StatusUnauthorized))
		if want == "" {
			want = got
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s differs from unknown:\n%s", name, diff)
		}
	}
}
