package rig

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// Way is a way into the APIs that Keygate guards.
type Way struct {
	// Plain and Secure are base URLs; "": there is none.
	Plain, Secure string
	// PlainClient speaks HTTP/1.1; SecureClient HTTP/2 over TLS, where it is offered.
	PlainClient, SecureClient *http.Client
}

// Call is a request.
type Call struct {
	Method, Host, Path string
	// Token goes into "Authorization: Bearer"; "": none.
	Token  string
	Header map[string][]string
	// Secure sends it over TLS where the way has both.
	Secure bool
}

// Answer is what the caller got.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

func (a Answer) String() string { return fmt.Sprintf("%d %v %s", a.Status, a.Header, a.Body) }

// NewWay makes a way from base URLs; ca is the file of the certificate that Secure's is
// signed by, "" if there is no Secure.
func NewWay(plain, secure, ca string) (*Way, error) {
	w := &Way{Plain: plain, Secure: secure}
	w.PlainClient = &http.Client{Timeout: Patience, CheckRedirect: noRedirects, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	if secure == "" {
		return w, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", ca)
	}
	w.SecureClient = &http.Client{Timeout: Patience, CheckRedirect: noRedirects, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
	}}
	return w, nil
}

// noRedirects shows redirects instead of following them.
func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Do sends a call.
func (w *Way) Do(c Call) (Answer, error) {
	client, base := w.PlainClient, w.Plain
	if base == "" || c.Secure && w.Secure != "" {
		client, base = w.SecureClient, w.Secure
	}
	if c.Method == "" {
		c.Method = http.MethodGet
	}
	req, err := http.NewRequest(c.Method, base+c.Path, nil)
	if err != nil {
		return Answer{}, err
	}
	req.Host = c.Host
	for name, values := range c.Header {
		req.Header[name] = values
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return Answer{resp.StatusCode, resp.Header, body}, err
}

// Echo is what the stack's sample upstream says it got.
type Echo struct {
	Method, Host, Path string
	Headers            map[string][]string
}

// Echo reads the upstream's words; the answer must be an allowed one.
func (a Answer) Echo(tb testing.TB) Echo {
	tb.Helper()
	var e Echo
	if a.Status != http.StatusOK {
		tb.Fatalf("not allowed: %s", a)
	}
	if err := json.Unmarshal(a.Body, &e); err != nil {
		tb.Fatalf("%v: %s", err, a)
	}
	return e
}

// First is the first value of a header as the upstream got it, in any case.
func (e Echo) First(name string) string {
	for got, values := range e.Headers {
		if strings.EqualFold(got, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}
