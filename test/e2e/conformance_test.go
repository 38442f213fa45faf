package e2e

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"keygate.dev/keygate/test/conformance"
)

// products are the tables by name.
var products = map[string]conformance.Product{
	"Stairoids":        conformance.Stairoids,
	"Stairoids simple": conformance.StairoidsSimple,
	"Stepsies":         conformance.Stepsies,
	"SignalStack":      conformance.SignalStack,
	"Workspace":        conformance.Workspace,
}

// TestConformance does what the products' pages say, and gets what they promise.
func TestConformance(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(products)) {
		t.Run(name, func(t *testing.T) { conform(t, shared, products[name]) })
	}
}

// conform runs one product's table.
func conform(t *testing.T, s *stack, p conformance.Product) {
	s.sample(t, p.Sample)
	policy := strings.TrimSuffix(p.Sample, ".yaml")
	tokens := map[string]string{}
	for _, key := range p.Keys {
		name := policy + "-" + key.Name
		token := s.key(t, "platform", name, "policyRef: {name: "+policy+"}\n"+key.Spec)
		if key.Format != "" && !regexp.MustCompile(key.Format).MatchString(token) {
			t.Errorf("the token of %s does not match %s", key.Name, key.Format)
		}
		tokens[key.Name] = token
		if key.Patch != "" {
			s.patch(t, "platform", name, key.Patch)
			s.becomes(t, call{method: p.Cases[0].Method, host: p.Host, path: p.Cases[0].Path, token: token, secure: p.Secure}, http.StatusUnauthorized)
		}
	}
	for _, c := range p.Cases {
		t.Run(c.Sentence, func(t *testing.T) {
			if c.Key != "" && tokens[c.Key] == "" {
				t.Fatalf("no key %s", c.Key)
			}
			s.conforms(t, p, c, tokens)
		})
	}
}

// conforms runs one case.
func (s *stack) conforms(t *testing.T, p conformance.Product, c conformance.Case, tokens map[string]string) {
	fill := func(text string) string { return strings.ReplaceAll(text, "{token}", tokens[c.Token]) }
	header := map[string][]string{"X-Request-Id": {conformance.RequestID}}
	for name, value := range c.Header {
		header[http.CanonicalHeaderKey(name)] = []string{fill(value)}
	}
	a := s.do(t, call{
		method: c.Method, host: p.Host, path: fill(c.Path), token: tokens[c.Key], header: header, secure: p.Secure && !c.Plain,
	})
	if a.status != c.Status {
		t.Fatalf("got %s; want %d", a, c.Status)
	}
	if c.Body != "" {
		a.wantBody(t, c.Status, strings.ReplaceAll(c.Body, "{requestId}", conformance.RequestID))
	}
	for name, want := range c.Answer {
		if got := a.header.Get(name); got != want && (want != "*" || got == "") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if len(c.Upstream) == 0 {
		return
	}
	e := a.echo(t)
	for name, want := range c.Upstream {
		if got := e.first(name); got != want {
			t.Errorf("upstream %s: %q, want %q", name, got, want)
		}
	}
}
