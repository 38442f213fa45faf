package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/test/rig"
)

// answer is what a caller got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call is a request through Envoy.
type call struct {
	method, host, path, token string
	header                    map[string][]string
	secure                    bool
}

// do sends a call; a token goes into "Authorization: Bearer".
func (s *stack) do(tb testing.TB, c call) answer {
	tb.Helper()
	a, err := s.try(c)
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func (s *stack) try(c call) (answer, error) {
	a, err := s.gateway.Load().Do(rig.Call{
		Method: c.method, Host: c.host, Path: c.path, Token: c.token, Header: c.header, Secure: c.secure,
	})
	return answer{a.Status, a.Header, a.Body}, err
}

// raw sends bytes to the plain listener as they are and reads one answer.
func (s *stack) raw(tb testing.TB, request string) answer {
	tb.Helper()
	gateway, err := url.Parse(s.vars["GATEWAY"])
	if err != nil {
		tb.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", gateway.Host, patience)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		tb.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		tb.Fatalf("no answer to %q: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, body}
}

// echo reads the upstream's words; the answer must be an allowed one.
func (a answer) echo(tb testing.TB) echo {
	tb.Helper()
	return echo{rig.Answer{Status: a.status, Header: a.header, Body: a.body}.Echo(tb)}
}

// echo is what the upstream says it got.
type echo struct{ rig.Echo }

// first is the first value of a header as the upstream got it, in any case.
func (e echo) first(name string) string { return e.First(name) }

func (a answer) String() string { return fmt.Sprintf("%d %v %s", a.status, a.header, a.body) }

// jsonBody decodes the body; every denial has one.
func (a answer) jsonBody(tb testing.TB) any {
	tb.Helper()
	var v any
	dec := json.NewDecoder(bytes.NewReader(a.body))
	if err := dec.Decode(&v); err != nil {
		tb.Fatalf("the body is no JSON: %v: %s", err, a)
	}
	return v
}

// wantBody compares the body, as JSON, with a text.
func (a answer) wantBody(tb testing.TB, status int, want string) {
	tb.Helper()
	if a.status != status {
		tb.Fatalf("got %s; want %d", a, status)
	}
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		tb.Fatal(err)
	}
	if diff := cmp.Diff(w, a.jsonBody(tb)); diff != "" {
		tb.Errorf("body (-want +got):\n%s", diff)
	}
}

// reason is the reason in a problem document.
func (a answer) reason(tb testing.TB) string {
	tb.Helper()
	body, _ := a.jsonBody(tb).(map[string]any)
	reason, _ := body["reason"].(string)
	return reason
}

// becomes calls until the status is want.
func (s *stack) becomes(tb testing.TB, c call, want int) answer {
	tb.Helper()
	var a answer
	eventually(tb, func() string {
		if a = s.do(tb, c); a.status != want {
			return fmt.Sprintf("%s %s: %s; want %d", c.method, c.path, a, want)
		}
		return ""
	})
	return a
}
