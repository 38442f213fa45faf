package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// queryPolicy takes keys in headers and in the parameter api_key.
func queryPolicy(host string) string {
	return plainPolicy(host) + `
credentials: [{header: {name: Authorization, scheme: Bearer}}, {query: {name: api_key}}]`
}

// TestQueryCredential: a key in the query counts like one in a header and is taken
// off, while the rest of the query reaches the upstream byte for byte, in its order.
func TestQueryCredential(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "query", queryPolicy(host))
	token := s.key(t, ns, "caller", "policyRef: {name: query}\nscopes: [read]")
	encoded := "%" + fmt.Sprintf("%02X", token[0]) + token[1:]
	for _, secure := range []bool{false, true} {
		for sent, want := range map[string]string{
			"/any?api_key=" + token:                            "/any",
			"/any?api_key=" + encoded:                          "/any",
			"/any?z=1&api_key=" + token + "&a=2&a=1":           "/any?z=1&a=2&a=1",
			"/any?api_key=" + token + "&y&=x&&%7e=%20+&/?:@!$": "/any?y&=x&&%7e=%20+&/?:@!$",
			"/any?b=%zz&c=%&api_key=" + token:                  "/any?b=%zz&c=%",
			"/open/1?api_key=" + token + "&api_key=x&q":        "/open/1?q",
			"/any?API_KEY=x&api_key=" + token:                  "/any?API_KEY=x",
		} {
			a := s.do(t, call{host: host, path: sent, secure: secure})
			e := a.echo(t)
			if e.Path != want || strings.Contains(fmt.Sprint(e), token) {
				t.Errorf("%s: the upstream got %s", sent, a.body)
			}
			if name := e.first("x-apikey-name"); (name == "caller") == strings.HasPrefix(want, "/open") {
				t.Errorf("%s: the upstream is told of %q", sent, name)
			}
		}
	}
	for name, tc := range map[string]struct {
		call   call
		status int
		reason string
	}{
		"twice":               {call{path: "/any?api_key=" + token + "&api_key=" + token}, 401, "malformed_key"},
		"with a header":       {call{path: "/any?api_key=" + token, token: token}, 401, "malformed_key"},
		"empty":               {call{path: "/any?api_key="}, 401, "malformed_key"},
		"another name":        {call{path: "/any?apikey=" + token}, 401, "missing_key"},
		"an encoded name":     {call{path: "/any?api%5Fkey=" + token}, 400, "malformed_request"},
		"encoded, with a key": {call{path: "/any?%61pi_key=x", token: token}, 400, "malformed_request"},
		"behind a semicolon":  {call{path: "/open/1?a=b;api_key=" + token}, 400, "malformed_request"},
		"unknown":             {call{path: "/any?api_key=pk_x"}, 401, "invalid_key"},
		"lacks a scope":       {call{method: "POST", path: "/things/1?api_key=" + token}, 403, "insufficient_scope"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.call.host = host
			if a := s.do(t, tc.call); a.status != tc.status || a.reason(t) != tc.reason || strings.Contains(string(a.body), token) {
				t.Errorf("got %s", a)
			}
		})
	}
}

// TestAccessLogHasNoQuery: neither an allowed nor a denied key in a query is in
// Envoy's log, which has the request id that the caller and the upstream got.
func TestAccessLogHasNoQuery(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "logged", queryPolicy(host))
	token := s.key(t, ns, "caller", "policyRef: {name: logged}")
	for path, status := range map[string]int{
		"/any?api_key=" + token: http.StatusOK, "/any?api_key=" + token + "&api_key": http.StatusUnauthorized, "/any?api%5Fkey=" + token: http.StatusBadRequest,
	} {
		id := fmt.Sprintf("logged-%s-%d", ns, status)
		a := s.do(t, call{host: host, path: path, header: map[string][]string{"X-Request-Id": {id}}})
		if a.status != status {
			t.Errorf("%s", a)
		}
		if status == http.StatusOK && a.echo(t).first("x-request-id") != id {
			t.Errorf("the upstream got another request id: %s", a)
		}
		line := s.logged(t, id)
		if line["path"] != "/any" || line["status"] != float64(status) || strings.Contains(fmt.Sprint(line), token) {
			t.Errorf("the access log has %v", line)
		}
	}
}

// logged is the line of Envoy's access log with a request id.
func (s *stack) logged(t *testing.T, id string) (line map[string]any) {
	t.Helper()
	eventually(t, func() string {
		file, err := os.Open(filepath.Join(s.dir, "log", "access.log"))
		if err != nil {
			return err.Error()
		}
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if !strings.Contains(lines.Text(), id) {
				continue
			}
			line = nil
			if err := json.Unmarshal(lines.Bytes(), &line); err == nil && line["request_id"] == id {
				return ""
			}
		}
		return "no line of the access log has the request id " + id
	})
	return line
}
