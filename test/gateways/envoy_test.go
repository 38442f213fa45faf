package gateways

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keygate.dev/keygate/test/conformance"
	"keygate.dev/keygate/test/rig"
)

// extauthzName is in extauthz's certificate.
const extauthzName = "keygate-extauthz.keygate-system.svc"

// plain is an Envoy on config/gateways/envoy.yaml, with its extauthz.
type plain struct {
	*rig.Envoy
	way      *rig.Way
	extauthz *rig.Extauthz
	// authority signed extauthz's certificate and Envoy's, which is in the directory
	// certificates.
	authority    *rig.Authority
	certificates string
}

// startPlain starts both, speaking mutual TLS with each other; the name is the one in
// extauthz's certificate.
func startPlain(t *testing.T, name string) *plain {
	t.Helper()
	ca := rig.NewAuthority(t)
	p := &plain{
		extauthz:  stack.StartExtauthz(t, append(rig.ServerFlags(ca.Issue(t, name)), "--max-body-bytes=65536")...),
		authority: ca, certificates: ca.Issue(t, "envoy"),
	}
	config := bootstrap(t, p.extauthz.Address)
	for _, secret := range []string{"extauthz-certificate.yaml", "extauthz-authority.yaml"} {
		file := filepath.Join(t.TempDir(), secret)
		text := rig.Edit(t, rig.Manifest(t, secret), [2]string{"filename: /etc/envoy/extauthz/", "filename: " + p.certificates + "/"},
			[2]string{"{path: /etc/envoy/extauthz}", "{path: " + p.certificates + "}"})
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		config = rig.Edit(t, config, [2]string{"/etc/envoy/" + secret, file})
	}
	p.start(t, config)
	return p
}

// start runs Envoy.
func (p *plain) start(t *testing.T, config string) {
	t.Helper()
	p.Envoy = rig.StartEnvoy(t, config)
	var err error
	if p.way, err = rig.NewWay("", "https://"+p.Listener(t, "https"), stack.Vars["GATEWAY_CA"]); err != nil {
		t.Fatal(err)
	}
}

// How long one try of a Check may take, as shipped and on a slow machine.
const shippedTry, slowTry = "max_interval: 0.4s", "max_interval: 20s"

// bootstrap is config/gateways/envoy.yaml on this machine.
func bootstrap(t *testing.T, extauthz string) string {
	t.Helper()
	pki := filepath.Dir(stack.Vars["GATEWAY_CA"])
	return rig.Edit(t, rig.Manifest(t, "envoy.yaml"),
		[2]string{"{socket_address: {address: keygate-extauthz-headless.keygate-system.svc.cluster.local, port_value: 9001}}", socketAddress(t, extauthz)},
		[2]string{"{socket_address: {address: stepsies.platform.svc.cluster.local, port_value: 8080}}", socketAddress(t, stack.Vars["UPSTREAM"])},
		[2]string{"{address: 127.0.0.1, port_value: 9901}", "{address: 127.0.0.1, port_value: 0}"},
		[2]string{"{address: 0.0.0.0, port_value: 8443}", "{address: 127.0.0.1, port_value: 0}"},
		[2]string{"/etc/envoy/tls/tls.crt", filepath.Join(pki, "gateway.pem")},
		[2]string{"/etc/envoy/tls/tls.key", filepath.Join(pki, "gateway-key.pem")},
		// A machine that runs all tests at once may be slow.
		[2]string{"                timeout: 1s\n", "                timeout: 20s\n"}, [2]string{"connect_timeout: 0.25s", "connect_timeout: 10s"},
		[2]string{shippedTry, slowTry},
	)
}

// TestPlainEnvoy is docs/envoy.md: the Stepsies table, and what the settings are for.
func TestPlainEnvoy(t *testing.T) {
	keys := tokens(t)
	p := startPlain(t, extauthzName)
	conformance.Run(t, p.way, conformance.Stepsies, keys)
	t.Run("the policy is the one that the route names", func(t *testing.T) { p.namesThePolicy(t, keys["read"]) })
	t.Run("a route that is not judged", p.unjudged)
	t.Run("paths", func(t *testing.T) { p.paths(t, keys["read"]) })
	t.Run("headers that pass for Keygate's", func(t *testing.T) { p.spoofed(t, keys["read"]) })
	t.Run("the client's address", func(t *testing.T) { p.clientAddress(t, keys["read"]) })
	t.Run("the access log has no query", p.accessLog)
	t.Run("a renewed certificate", p.renewed)
	t.Run("no extauthz", func(t *testing.T) { p.outage(t, keys["read"]) })
	t.Run("no extauthz, a route that is not judged", p.unjudged)
}

// do sends a request for the table's host.
func (p *plain) do(t *testing.T, path, token string, header map[string][]string) rig.Answer {
	t.Helper()
	a, err := p.way.Do(rig.Call{Host: conformance.Stepsies.Host, Path: path, Token: token, Header: header, Secure: true})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// raw sends bytes over TLS as they are and returns the answer's status.
func (p *plain) raw(t *testing.T, request string) int {
	t.Helper()
	config := p.way.SecureClient.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"http/1.1"}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(p.way.Secure, "https://"), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// namesThePolicy: the route's policy is in the upstream's headers, and an extauthz that
// is not told of it would have been told by the host only.
func (p *plain) namesThePolicy(t *testing.T, token string) {
	if got := p.do(t, "/v1/stepsies", token, nil).Echo(t).First("x-apikey-policy"); got != "platform/stepsies" {
		t.Errorf("the policy is %q", got)
	}
	a, err := p.way.Do(rig.Call{Host: "unknown.example.com", Path: "/v1/stepsies", Token: token})
	if err != nil || a.Status < 400 {
		t.Errorf("a host without a route: %s, %v", a, err)
	}
}

// unjudged: the one path, and nothing that only begins like it.
func (p *plain) unjudged(t *testing.T) {
	for path, open := range map[string]bool{"/healthz": true, "/healthz/": false, "/healthz/x": false, "/healthzz": false} {
		a := p.do(t, path, "", nil)
		if (a.Status == http.StatusOK) != open || open && len(a.Body) > 0 {
			t.Errorf("%s: %s; open: %v", path, a, open)
		}
	}
}

// paths are read once, by the route as by Keygate and the upstream.
func (p *plain) paths(t *testing.T, token string) {
	for path, want := range map[string]int{
		"/healthz/../v1/stepsies": 200, // judged: the key reads
		"/v1//stepsies":           200,
		"/v1/./stepsies":          200,
		"/v1%2Fstepsies":          400,
		"/v1/stepsies%5c1":        400,
		"/v1/stepsies/%2e%2e":     403, // /v1: no rule
	} {
		authorized := fmt.Sprintf("GET %s HTTP/1.1\r\nhost: api.stepsies.com\r\nauthorization: Bearer %s\r\nconnection: close\r\n\r\n", path, token)
		if got := p.raw(t, authorized); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
		if got := p.raw(t, strings.Replace(authorized, token, "sk_x", 1)); got < 400 {
			t.Errorf("%s without a key: %d", path, got)
		}
	}
}

// spoofed: no header reaches the upstream that some server may take for one of
// Keygate's, though Envoy shows Keygate only some.
func (p *plain) spoofed(t *testing.T, token string) {
	header := map[string][]string{"Cookie": {"seen=no"}}
	for _, name := range []string{"x-apikey-id", "X-Apikey.Id", "x.apikey.id", "x-apikey-scopes", "x.apikey-name", "x-apikey-other", "x-http.method-override", "x-original.url"} {
		header[name] = []string{"spoofed"}
	}
	for name, values := range p.do(t, "/v1/stepsies", token, header).Echo(t).Headers {
		if strings.Contains(strings.Join(values, ","), "spoofed") {
			t.Errorf("the upstream got %s: %v", name, values)
		}
	}
	for _, name := range []string{"x_apikey_id", "x-apikey_id"} {
		if got := p.raw(t, "GET /v1/stepsies HTTP/1.1\r\nhost: api.stepsies.com\r\n"+name+": spoofed\r\nconnection: close\r\n\r\n"); got != http.StatusBadRequest {
			t.Errorf("%s: %d", name, got)
		}
	}
}

// clientAddress: behind what a caller wrote into x-forwarded-for stands what Envoy saw
// (this machine's address, for a peer on loopback), and x-envoy-external-address is
// never the caller's.
func (p *plain) clientAddress(t *testing.T, token string) {
	e := p.do(t, "/v1/stepsies", token, map[string][]string{
		"X-Forwarded-For": {"203.0.113.7"}, "X-Envoy-External-Address": {"203.0.113.7"}, "X-Forwarded-Proto": {"http"},
	}).Echo(t)
	if got := e.First("x-forwarded-for"); !strings.HasPrefix(got, "203.0.113.7,") {
		t.Errorf("x-forwarded-for: %q", got)
	}
	if got := e.First("x-envoy-external-address"); strings.Contains(got, "203") {
		t.Errorf("x-envoy-external-address: %q", got)
	}
	if got := e.First("x-forwarded-proto"); got != "https" {
		t.Errorf("x-forwarded-proto: %q", got)
	}
}

// accessLog: requests are in it with Keygate's reason, and their queries are not.
func (p *plain) accessLog(t *testing.T) {
	p.do(t, "/v1/stepsies?api_key=sk_inquery", "sk_wrong", map[string][]string{"X-Request-Id": {"logged-1"}})
	rig.Eventually(t, func() string {
		for line := range strings.Lines(p.Text(t)) {
			var entry struct {
				Path, Client string
				Keygate      struct{ Reason, RequestID string }
			}
			if json.Unmarshal([]byte(line), &entry) != nil || entry.Keygate.RequestID != "logged-1" {
				continue
			}
			if entry.Path != "/v1/stepsies" || entry.Keygate.Reason != "invalid_key" || entry.Client != "127.0.0.1" {
				t.Errorf("the log has %s", line)
			}
			return ""
		}
		return "the request is not in the access log"
	})
	for _, secret := range []string{"sk_inquery", "sk_wrong"} {
		if strings.Contains(p.Text(t), secret) {
			t.Errorf("%s is in the access log", secret)
		}
	}
}

// renewed: Envoy takes a new certificate for extauthz when its files are moved into
// place, and goes on.
func (p *plain) renewed(t *testing.T) {
	const name = "envoy-renewed"
	fresh := p.authority.Issue(t, name)
	if strings.Contains(p.Page(t, "/certs"), name) {
		t.Fatal("Envoy has the new certificate already")
	}
	for _, file := range []string{"tls.key", "tls.crt"} {
		if err := os.Rename(filepath.Join(fresh, file), filepath.Join(p.certificates, file)); err != nil {
			t.Fatal(err)
		}
	}
	rig.Eventually(t, func() string {
		if certs := p.Page(t, "/certs"); !strings.Contains(certs, name) {
			return fmt.Sprintf("Envoy has no certificate for %s: %s", name, certs)
		}
		return ""
	})
	if a := p.do(t, "/v1/stepsies", "", nil); a.Status != http.StatusUnauthorized {
		t.Errorf("got %s", a)
	}
}

// outage: no answer is an error, in the form of Keygate's own, and no permission.
func (p *plain) outage(t *testing.T, token string) {
	p.extauthz.Stop()
	a := p.do(t, "/v1/stepsies", token, map[string][]string{"X-Request-Id": {"req-1"}})
	if a.Status != http.StatusServiceUnavailable {
		t.Errorf("without extauthz: %s", a)
	}
}

// TestPlainEnvoyWithoutTLS: on loopback, the transport socket is left out.
func TestPlainEnvoyWithoutTLS(t *testing.T) {
	keys := tokens(t)
	p := &plain{extauthz: stack.StartExtauthz(t)}
	p.start(t, withoutTLS(t, bootstrap(t, p.extauthz.Address)))
	conformance.Run(t, p.way, conformance.Stepsies, keys)
}

// TestPlainEnvoyStranger: whoever else the authority signed is not asked, and who shows
// no certificate gets no answer.
func TestPlainEnvoyStranger(t *testing.T) {
	p := startPlain(t, "somebody-else.keygate-system.svc")
	if a := p.do(t, "/v1/stepsies", "", nil); a.Status != http.StatusServiceUnavailable {
		t.Errorf("an extauthz of another name is asked: %s", a)
	}
	if stats := p.Page(t, "/stats?filter=cluster.extauthz.ssl.fail_verify_san"); !strings.Contains(stats, "fail_verify_san: ") || strings.Contains(stats, "san: 0") {
		t.Errorf("it is not its name that it is refused for: %s", stats)
	}
}
