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
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// answer is what a caller got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// echo is what the upstream says it got.
type echo struct {
	Method, Host, Path string
	Headers            map[string][]string
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
	g := s.gateway.Load()
	client, base := g.plain, g.plainURL
	if c.secure {
		client, base = g.secure, g.secureURL
	}
	if c.method == "" {
		c.method = http.MethodGet
	}
	req, err := http.NewRequest(c.method, base+c.path, nil)
	if err != nil {
		return answer{}, err
	}
	req.Host = c.host
	for name, values := range c.header {
		req.Header[name] = values
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body}, err
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
	var e echo
	if a.status != http.StatusOK {
		tb.Fatalf("not allowed: %s", a)
	}
	if err := json.Unmarshal(a.body, &e); err != nil {
		tb.Fatalf("%v: %s", err, a)
	}
	return e
}

// first is the first value of a header as the upstream got it, in any case.
func (e echo) first(name string) string {
	for got, values := range e.Headers {
		if strings.EqualFold(got, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

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
