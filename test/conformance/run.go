package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/test/rig"
)

// namespace is that of every policy in config/samples.
const namespace = "platform"

// Tokens maps the names of a product's keys to their tokens.
type Tokens map[string]string

// Issue applies a product's sample and its keys, each under the name of its policy
// and its own, and patches those that have a patch.
func Issue(t *testing.T, c *rig.Cluster, p Product) Tokens {
	t.Helper()
	c.Sample(t, p.Sample)
	policy := strings.TrimSuffix(p.Sample, ".yaml")
	tokens := Tokens{}
	for _, key := range p.Keys {
		name := policy + "-" + key.Name
		token := c.Key(t, namespace, name, "policyRef: {name: "+policy+"}\n"+key.Spec)
		if key.Format != "" && !regexp.MustCompile(key.Format).MatchString(token) {
			t.Errorf("the token of %s does not match %s", key.Name, key.Format)
		}
		tokens[key.Name] = token
		if key.Patch != "" {
			c.Patch(t, namespace, name, key.Patch)
		}
	}
	return tokens
}

// Run sends a product's cases through a way in, once Keygate decides there about the
// policy and all keys.
func Run(t *testing.T, way *rig.Way, p Product, tokens Tokens) {
	Await(t, way, p, tokens)
	for _, c := range p.Cases {
		t.Run(c.Sentence, func(t *testing.T) {
			if c.Key != "" && tokens[c.Key] == "" {
				t.Fatalf("no key %s", c.Key)
			}
			conforms(t, way, p, c, tokens)
		})
	}
}

// Await waits until the product's policy and keys are known where a way leads to: the
// first case's request is a 401 without a key and with one that was patched, and no
// longer one with any other key.
func Await(t *testing.T, way *rig.Way, p Product, tokens Tokens) {
	t.Helper()
	await := func(token string, denied bool) {
		t.Helper()
		call := rig.Call{Method: p.Cases[0].Method, Host: p.Host, Path: p.Cases[0].Path, Token: token, Secure: p.Secure}
		rig.Eventually(t, func() string {
			a, err := way.Do(call)
			if err != nil {
				return err.Error()
			}
			if (a.Status == http.StatusUnauthorized) != denied {
				return fmt.Sprintf("%s; want 401: %v", a, denied)
			}
			return ""
		})
	}
	await("", true)
	for _, key := range p.Keys {
		await(tokens[key.Name], key.Patch != "")
	}
}

// conforms sends one case.
func conforms(t *testing.T, way *rig.Way, p Product, c Case, tokens Tokens) {
	fill := func(text string) string { return strings.ReplaceAll(text, "{token}", tokens[c.Token]) }
	header := map[string][]string{"X-Request-Id": {RequestID}}
	for name, value := range c.Header {
		header[http.CanonicalHeaderKey(name)] = []string{fill(value)}
	}
	a, err := way.Do(rig.Call{
		Method: c.Method, Host: p.Host, Path: fill(c.Path), Token: tokens[c.Key], Header: header, Secure: p.Secure && !c.Plain,
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != c.Status {
		t.Fatalf("got %s; want %d", a, c.Status)
	}
	if c.Body != "" {
		sameJSON(t, a, strings.ReplaceAll(c.Body, "{requestId}", RequestID))
	}
	for name, want := range c.Answer {
		if got := a.Header.Get(name); got != want && (want != "*" || got == "") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if len(c.Upstream) == 0 {
		return
	}
	seen := a.Echo(t)
	for name, want := range c.Upstream {
		if got := seen.First(name); got != want {
			t.Errorf("upstream %s: %q, want %q", name, got, want)
		}
	}
}

// sameJSON compares an answer's body with a text.
func sameJSON(t *testing.T, a rig.Answer, want string) {
	t.Helper()
	var got, wanted any
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(a.Body, &got); err != nil {
		t.Fatalf("the body is no JSON: %v: %s", err, a)
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}
