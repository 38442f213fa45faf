package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestIdentityReachesTheUpstream: who is calling, and nothing of the key.
func TestIdentityReachesTheUpstream(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	token := s.key(t, ns, "caller", "policyRef: {name: plain}\nscopes: [read]")
	for name, secure := range map[string]bool{"HTTP/1.1": false, "HTTP/2 over TLS": true} {
		t.Run(name, func(t *testing.T) {
			e := s.do(t, call{host: host, path: "/things/1", token: token, secure: secure}).echo(t)
			want := map[string]string{
				"x-apikey-name": "caller", "x-apikey-namespace": ns, "x-apikey-policy": ns + "/plain",
				"x-apikey-environment": "live", "x-apikey-scopes": "read",
			}
			for header, value := range want {
				if got := e.first(header); got != value {
					t.Errorf("%s: %q, want %q", header, got, value)
				}
			}
			if len(e.first("x-apikey-id")) != 16 {
				t.Errorf("x-apikey-id: %q", e.first("x-apikey-id"))
			}
			if e.first("authorization") != "" || strings.Contains(fmt.Sprint(e), token) {
				t.Error("the key reached the upstream")
			}
		})
	}
}

// TestSpoofedIdentity sends identity headers of one's own, none, one and two, in
// every spelling, with and without a key.
func TestSpoofedIdentity(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	token := s.key(t, ns, "caller", "policyRef: {name: plain}\nscopes: [read]")
	for _, name := range []string{
		"x-apikey-name", "X-APIKEY-NAME", "x_apikey_name", "x.apikey.name", "X-Apikey_Name", "x-apikey.name",
		"x-apikey-scopes", "x-apikey-plan", "x-apikey-anything",
		"x-http-method-override", "X-HTTP-Method-Override", "x_http_method_override", "x-http-method", "x-method-override",
		"x-original-url", "x-rewrite-url",
	} {
		for copies := range 3 {
			for path, key := range map[string]string{"/things/1": token, "/open/1": "", "/open/2": token} {
				t.Run(fmt.Sprintf("%d of %s on %s", copies, name, path), func(t *testing.T) {
					spoofed := strings.Repeat(name+": spoofed\r\n", copies)
					if key != "" {
						spoofed += "Authorization: Bearer " + key + "\r\n"
					}
					a := s.raw(t, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\n"+spoofed+"Connection: close\r\n\r\n")
					if a.status == http.StatusBadRequest {
						return // refused: nothing reached the upstream
					}
					e := a.echo(t)
					if strings.Contains(fmt.Sprint(e), "spoofed") {
						t.Errorf("the upstream got %v", e.Headers)
					}
					if key != "" && strings.Contains(fmt.Sprint(e), key) {
						t.Error("the key reached the upstream")
					}
				})
			}
		}
	}
}

// TestConnectionNamesIdentity: a proxy behind would take off what Connection
// names, so such a request is refused (CVE-2024-45410).
func TestConnectionNamesIdentity(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	token := s.key(t, ns, "caller", "policyRef: {name: plain}\nscopes: [read]")
	for _, value := range []string{
		"Upgrade, x-apikey-id", "Upgrade,X-APIKEY-NAME", "upgrade , x_apikey_id", "Upgrade, authorization",
	} {
		t.Run(value, func(t *testing.T) {
			a := s.raw(t, "GET /things/1 HTTP/1.1\r\nHost: "+host+"\r\nAuthorization: Bearer "+token+
				"\r\nConnection: "+value+"\r\nUpgrade: websocket\r\n\r\n")
			if a.status == http.StatusOK && a.echo(t).first("x-apikey-name") != "caller" {
				t.Errorf("allowed without identity: %s", a)
			}
			if a.status != http.StatusBadRequest {
				t.Errorf("got %s, want 400", a)
			}
		})
	}
}

// TestDuplicateCredentials: two keys are one too many, joined or apart.
func TestDuplicateCredentials(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "two", plainPolicy(host)+`
credentials: [{header: {name: Authorization, scheme: Bearer}}, {header: {name: X-API-Key}}]`)
	token := s.key(t, ns, "caller", "policyRef: {name: two}\nscopes: [read]")
	for name, tc := range map[string]struct {
		fields []string
		status int
	}{
		"one":                       {[]string{"Authorization: Bearer " + token}, 200},
		"the other":                 {[]string{"x-api-key: " + token}, 200},
		"twice the same":            {[]string{"Authorization: Bearer " + token, "Authorization: Bearer " + token}, 401},
		"twice the same, joined":    {[]string{"Authorization: Bearer " + token + ", Bearer " + token}, 401},
		"a bad one, then a good":    {[]string{"Authorization: Bearer x", "Authorization: Bearer " + token}, 401},
		"a good one, then a bad":    {[]string{"Authorization: Bearer " + token, "Authorization: Bearer x"}, 401},
		"both places":               {[]string{"Authorization: Bearer " + token, "x-api-key: " + token}, 401},
		"both places, one empty":    {[]string{"Authorization: Bearer " + token, "x-api-key:"}, 401},
		"a tab":                     {[]string{"Authorization: Bearer\t" + token}, 401},
		"NUL is Envoy's to refuse":  {[]string{"Authorization: Bearer " + token + "\x00"}, 400},
		"not UTF-8":                 {[]string{"Authorization: Bearer \xff\xfe"}, 401},
		"not UTF-8 in another":      {[]string{"Authorization: Bearer " + token, "x-other: \xff\xfe"}, 200},
		"a token of 600 characters": {[]string{"Authorization: Bearer " + strings.Repeat("a", 600)}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.raw(t, "GET /things/1 HTTP/1.1\r\nHost: "+host+"\r\n"+strings.Join(tc.fields, "\r\n")+"\r\nConnection: close\r\n\r\n")
			if a.status != tc.status {
				t.Errorf("got %s, want %d", a, tc.status)
			}
		})
	}
}

// TestPathsThatAreNotCanonical are refused on a policy that would allow them all.
func TestPathsThatAreNotCanonical(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "open", `
hosts: [`+host+`]
environments: [{name: live, prefix: pk_}]
rules: [{paths: ["/{rest...}"], anonymous: true}]`)
	get := func(target string) answer {
		return s.raw(t, "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
	}
	for _, good := range []string{"/", "/a", "/a/", "/a%20b", "/a?x=//..;%zz", "/~a.b-c_d", "/a:b@c!$&'()*+,=", "/%C3%A9"} {
		if a := get(good); a.status != http.StatusOK {
			t.Errorf("%s: %s, want 200", good, a)
		}
	}
	for _, bad := range []string{
		"//", "//a", "/a//b", "/a//", "/./a", "/a/..", "/a/../b", "/..", "/%2e%2e/a", "/a/%2E", "/a%2Fb", "/a%2fb", "/a%5Cb", "/a%5cb",
		"/%61dmin", "/%7Ea", `/a\b`, "/a;x", "/a;x=y/b", "/a%zz", "/a%", "/a%2", "/a%00", "/a%0a", "/a%7f", "/\xc3\xa9", "/a#b",
	} {
		if a := get(bad); a.status != http.StatusBadRequest {
			t.Errorf("%q: %s, want 400", bad, a)
		}
	}
}

// TestForwardedHeadersChangeNothing: what a client can write about the path, the
// host and the client never changes a verdict.
func TestForwardedHeadersChangeNothing(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	for _, field := range []string{
		"x-envoy-original-path: /open/1", "x-original-url: /open/1", "x-forwarded-host: other.e2e.test",
		"x-forwarded-proto: https", "x-forwarded-for: 127.0.0.1", "x-envoy-external-address: 127.0.0.1",
		"x-envoy-original-host: other", "x-forwarded-uri: /open/1", "x-http-method-override: OPTIONS", "forwarded: host=other",
	} {
		a := s.raw(t, "GET /things/1 HTTP/1.1\r\nHost: "+host+"\r\n"+field+"\r\nConnection: close\r\n\r\n")
		if a.status != http.StatusUnauthorized || a.reason(t) != "missing_key" {
			t.Errorf("%s: %s, want 401 missing_key", field, a)
		}
	}
}

// TestHostSpellings: case, port and a dot at the end name the same host.
func TestHostSpellings(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	for spelled, reason := range map[string]string{
		host: "missing_key", strings.ToUpper(host): "missing_key", host + ":8443": "missing_key", host + ".": "missing_key",
		"x." + host: "no_policy", host + ".evil": "no_policy", host + "@evil": "no_policy",
	} {
		a := s.raw(t, "GET /things/1 HTTP/1.1\r\nHost: "+spelled+"\r\nConnection: close\r\n\r\n")
		if a.status == http.StatusBadRequest && strings.Contains(spelled, "@") {
			continue // not a host at all
		}
		if got := a.reason(t); got != reason {
			t.Errorf("%s: %s, want %s", spelled, a, reason)
		}
	}
}

// TestTLSListenerSpeaksHTTP2 makes sure that the tests above which say HTTP/2 are.
func TestTLSListenerSpeaksHTTP2(t *testing.T) {
	req, err := http.NewRequest(http.MethodGet, shared.vars["GATEWAY_TLS"]+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := shared.gateway.Load().SecureClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.TLS == nil || resp.TLS.Version < tls.VersionTLS12 {
		t.Errorf("the TLS listener speaks %s", resp.Proto)
	}
}
