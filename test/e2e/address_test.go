package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// claims are what a caller may write to seem to come from an address.
func claims(address string) []string {
	return []string{
		"", "x-forwarded-for: " + address, "x-envoy-external-address: " + address, "x-real-ip: " + address,
		"forwarded: for=" + address, "x-envoy-internal: true\r\nx-envoy-external-address: " + address,
		"x-forwarded-for: " + address + "\r\nx-envoy-external-address: " + address, "true-client-ip: " + address,
		"x-envoy-external-address: " + address + "\r\nX-Envoy-External-Address: " + address,
	}
}

// from calls with header lines of one's own.
func (s *stack) from(t *testing.T, host, token, lines string) answer {
	t.Helper()
	if lines != "" {
		lines += "\r\n"
	}
	return s.raw(t, "GET /any HTTP/1.1\r\nHost: "+host+"\r\nAuthorization: Bearer "+token+"\r\n"+lines+"Connection: close\r\n\r\n")
}

// wantAddressDenied checks the answer to a caller from elsewhere.
func wantAddressDenied(t *testing.T, lines string, a answer) {
	t.Helper()
	if a.status != http.StatusForbidden || a.reason(t) != "address_denied" {
		t.Errorf("%q: %s, want 403 address_denied", lines, a)
	}
	if strings.Contains(string(a.body), "203.0.113") || strings.Contains(string(a.body), "127.0.0") {
		t.Errorf("%q: the body tells of addresses: %s", lines, a.body)
	}
}

// TestAllowedCIDRs: by default the peer's address counts, whatever a caller writes;
// an edit of the networks takes effect.
func TestAllowedCIDRs(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	here := s.key(t, ns, "here", "policyRef: {name: plain}\nallowedCIDRs: [\"203.0.113.0/24\", 127.0.0.0/8]")
	elsewhere := s.key(t, ns, "elsewhere", "policyRef: {name: plain}\nallowedCIDRs: [\"203.0.113.0/24\", \"::/0\"]")
	for _, lines := range claims("203.0.113.7") {
		if a := s.from(t, host, here, lines); a.status != http.StatusOK {
			t.Errorf("%q: %s, want 200", lines, a)
		}
		wantAddressDenied(t, lines, s.from(t, host, elsewhere, lines))
	}
	wantAddressDenied(t, "over TLS", s.do(t, call{host: host, path: "/any", token: elsewhere, secure: true}))
	if a := s.do(t, call{host: host, path: "/open/1", token: elsewhere}); a.status != http.StatusOK {
		t.Errorf("an anonymous route: %s", a)
	}
	s.patch(t, ns, "elsewhere", `{"spec":{"allowedCIDRs":["127.0.0.0/8"]}}`)
	s.becomes(t, call{host: host, path: "/any", token: elsewhere}, http.StatusOK)
	s.patch(t, ns, "here", `{"spec":{"allowedCIDRs":["127.0.0.2/32"]}}`)
	s.becomes(t, call{host: host, path: "/any", token: here}, http.StatusForbidden)
	s.patch(t, ns, "here", `{"spec":{"allowedCIDRs":null}}`)
	s.becomes(t, call{host: host, path: "/any", token: here}, http.StatusOK)
}

// TestExternalAddress: behind a balancer whose x-forwarded-for is believed, the
// address in it counts: of the last hop, and never what the caller wrote.
func TestExternalAddress(t *testing.T) {
	s := start(t, "EXTAUTHZ_FLAGS=--client-address=x-envoy-external-address", "TRUSTED_HOPS=1")
	host := newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	token := s.key(t, ns, "office", "policyRef: {name: plain}\nallowedCIDRs: [\"203.0.113.0/24\", \"2001:db8::/32\"]")
	for forwarded, allowed := range map[string]bool{
		"203.0.113.7": true, "127.0.0.1, 203.0.113.7": true, "2001:db8::7": true, "junk, 203.0.113.7": true,
		"198.51.100.7": false, "203.0.113.7, 198.51.100.7": false, "203.0.113.7, 127.0.0.1": false, "2001:db9::7": false, "203.0.113.7, junk": false,
	} {
		for _, lines := range []string{"", "x-envoy-external-address: 203.0.113.8", "x-envoy-internal: true\r\nx-envoy-external-address: 203.0.113.8"} {
			sent := strings.TrimPrefix(lines+"\r\nx-forwarded-for: "+forwarded, "\r\n")
			a := s.from(t, host, token, sent)
			if allowed && a.status != http.StatusOK {
				t.Errorf("%q: %s, want 200", sent, a)
			}
			if !allowed {
				wantAddressDenied(t, sent, a)
			}
		}
	}
	for _, lines := range claims("203.0.113.7") { // the balancer's own address, without x-forwarded-for
		if !strings.Contains(lines, "x-forwarded-for") {
			wantAddressDenied(t, lines, s.from(t, host, token, lines))
		}
	}
}

// TestExternalAddressUnset is why docs/operating.md asks for use_remote_address:
// without it, Envoy passes x-envoy-external-address on as the caller wrote it.
func TestExternalAddressUnset(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	token := s.key(t, ns, "caller", "policyRef: {name: plain}")
	if got := s.from(t, host, token, "x-envoy-external-address: 203.0.113.7").echo(t).first("x-envoy-external-address"); got != "203.0.113.7" {
		t.Errorf("got %q: Envoy has changed, and so must docs/operating.md", got)
	}
	if got := s.from(t, host, token, "").echo(t).first("x-envoy-external-address"); got != "" {
		t.Errorf("got %q from Envoy itself", got)
	}
}
