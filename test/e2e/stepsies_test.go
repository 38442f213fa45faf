package e2e

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What Stepsies' page promises, in the words of its bodies.
const (
	stepsiesHost         = "api.stepsies.com"
	stepsiesUnauthorized = `{"error": {"code": "unauthorized", "message": "Missing or invalid API key"}}`
	stepsiesForbidden    = `{"error": {"code": "forbidden", "message": "Insufficient scope for this action"}}`
)

// stepsiesKey is the spec of a key of the sample policy.
func stepsiesKey(scopes string) string {
	return "policyRef: {name: stepsies, namespace: platform}\nscopes: [" + scopes + "]"
}

// TestStepsiesEndpoints is the page's table of endpoints, each row with each scope:
// "Scope Requirements by Endpoint" and "The admin scope includes all permissions
// from read and write scopes."
func TestStepsiesEndpoints(t *testing.T) {
	s := shared
	s.sample(t, "stepsies.yaml")
	tokens := map[string]string{}
	for name, scopes := range map[string]string{"read": "read", "write": "write", "both": "read, write", "admin": "admin", "none": ""} {
		tokens[name] = s.key(t, "platform", "endpoints-"+name, stepsiesKey(scopes))
	}
	for endpoint, allowed := range map[string]string{
		"GET /v1/stepsies":                "read both admin",
		"GET /v1/stepsies/42":             "read both admin",
		"POST /v1/stepsies":               "write both admin",
		"PATCH /v1/stepsies/42":           "write both admin",
		"DELETE /v1/stepsies/42":          "write both admin",
		"POST /v1/stepsies/42/publish":    "write both admin",
		"POST /v1/stepsies/42/unpublish":  "write both admin",
		"GET /v1/stepsies/a%20b?q=1&q=2":  "read both admin",
		"GET /v1/stepsies/":               "",
		"GET /v1/stepsies/42/publish":     "",
		"POST /v1/stepsies/42":            "",
		"PUT /v1/stepsies/42":             "",
		"HEAD /v1/stepsies":               "",
		"GET /stepsies":                   "",
		"GET /v1/users":                   "",
		"GET /v1":                         "",
		"GET /":                           "",
		"DELETE /v1/stepsies":             "",
		"POST /v1/stepsies/42/publish/":   "",
		"POST /v1/stepsies/42/43/publish": "",
	} {
		method, path, _ := strings.Cut(endpoint, " ")
		for name, token := range tokens {
			t.Run(endpoint+" with "+name, func(t *testing.T) {
				a := s.do(t, call{method: method, host: stepsiesHost, path: path, token: token})
				if !strings.Contains(" "+allowed+" ", " "+name+" ") {
					if method == http.MethodHead {
						if a.status != http.StatusForbidden {
							t.Errorf("got %s, want 403", a)
						}
						return
					}
					a.wantBody(t, http.StatusForbidden, stepsiesForbidden)
					return
				}
				if e := a.echo(t); e.Method != method || e.Path != path {
					t.Errorf("the upstream got %s %s", e.Method, e.Path)
				}
			})
		}
		if method == http.MethodHead || allowed == "" {
			continue
		}
		t.Run(endpoint+" without a key", func(t *testing.T) {
			a := s.do(t, call{method: method, host: stepsiesHost, path: path})
			a.wantBody(t, http.StatusUnauthorized, stepsiesUnauthorized)
			if got := a.header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer ") {
				t.Errorf("WWW-Authenticate: %q", got)
			}
			if got := a.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type: %q", got)
			}
		})
	}
}

// TestStepsiesKeyFormat: "Prefix: sk_", "Token: 48 random hexadecimal characters",
// "Total length: 51 characters"; "names like CI/CD Pipeline"; what can be seen of a
// key afterwards: name and description, scopes, creation date, expiration date.
func TestStepsiesKeyFormat(t *testing.T) {
	s := shared
	s.sample(t, "stepsies.yaml")
	token := s.key(t, "platform", "format", stepsiesKey("read")+`
displayName: CI/CD Pipeline
description: nightly export
expiresAt: "2099-01-01T00:00:00Z"`)
	if !regexp.MustCompile(`^sk_[0-9a-f]{48}$`).MatchString(token) || len(token) != 51 {
		t.Errorf("a token of %d characters that is no sk_ and 48 hex digits", len(token))
	}
	out := s.kubectl(t, "get", "apikey", "-n", "platform", "format", "-o", "wide")
	for _, want := range []string{token[:7] + "…", `["read"]`, "2099-01-01T00:00:00Z", "True", "Active", "stepsies", "CI/CD Pipeline"} {
		if !strings.Contains(out, want) {
			t.Errorf("kubectl get does not show %q:\n%s", want, out)
		}
	}
	described := s.kubectl(t, "describe", "apikey", "-n", "platform", "format")
	for _, want := range []string{"nightly export", "Creation Timestamp", "Issued At"} {
		if !strings.Contains(described, want) {
			t.Errorf("kubectl describe does not show %q:\n%s", want, described)
		}
	}
	if strings.Contains(out+described, token[:8]) {
		t.Error("more than four characters of the secret are shown")
	}
}

// TestStepsiesAuthenticationErrors: the common causes of 401 that the page lists,
// and "Any requests using a revoked key will receive a 401 Unauthorized error".
func TestStepsiesAuthenticationErrors(t *testing.T) {
	s := shared
	s.sample(t, "stepsies.yaml")
	token := s.key(t, "platform", "errors", stepsiesKey("read"))
	at := call{host: stepsiesHost, path: "/v1/stepsies"}
	withHeader := func(value string) call {
		c := at
		c.header = map[string][]string{"Authorization": {value}}
		return c
	}
	typo := []byte(token)
	typo[20] ^= 1
	for name, c := range map[string]call{
		"missing Authorization header": at,
		"typo in the API key":          withHeader("Bearer " + string(typo)),
		"no scheme":                    withHeader(token),
		"another scheme":               withHeader("Basic " + token),
		"only the scheme":              withHeader("Bearer"),
		"two spaces":                   withHeader("Bearer  " + token),
		"something behind":             withHeader("Bearer " + token + " x"),
		"quoted":                       withHeader(`Bearer "` + token + `"`),
		"a key of another format":      withHeader("Bearer sk_live_abc"),
	} {
		t.Run(name, func(t *testing.T) {
			s.do(t, c).wantBody(t, http.StatusUnauthorized, stepsiesUnauthorized)
		})
	}
	t.Run("the scheme in any case", func(t *testing.T) {
		s.do(t, withHeader("bEARER "+token)).echo(t)
	})
	at.token = token
	t.Run("revoked, for good", func(t *testing.T) {
		s.do(t, at).echo(t)
		s.patch(t, "platform", "errors", `{"spec":{"state":"Revoked"}}`)
		s.becomes(t, at, http.StatusUnauthorized).wantBody(t, http.StatusUnauthorized, stepsiesUnauthorized)
		s.wait(t, s.keys("platform"), "errors", "Ready", "False", "Revoked")
		if err := s.tryPatch("platform", "errors", `{"spec":{"state":"Active"}}`); err == nil {
			t.Error("a revoked key was reinstated")
		}
	})
	t.Run("expired by the clock", func(t *testing.T) {
		c := call{host: stepsiesHost, path: "/v1/stepsies"}
		c.token = s.key(t, "platform", "expiring", stepsiesKey("read"))
		soon := time.Now().Add(3 * time.Second).UTC().Truncate(time.Second)
		s.patch(t, "platform", "expiring", `{"spec":{"expiresAt":"`+soon.Format(time.RFC3339)+`"}}`)
		a := s.becomes(t, c, http.StatusUnauthorized)
		if early := time.Until(soon); early > 0 {
			t.Errorf("denied %v before it expires", early)
		}
		a.wantBody(t, http.StatusUnauthorized, stepsiesUnauthorized)
		s.wait(t, s.keys("platform"), "expiring", "Ready", "False", "Expired")
	})
}

// TestStepsiesUpgrade: "Create a new API key with the required scope, or upgrade
// your existing key."
func TestStepsiesUpgrade(t *testing.T) {
	s := shared
	s.sample(t, "stepsies.yaml")
	c := call{method: http.MethodPost, host: stepsiesHost, path: "/v1/stepsies"}
	c.token = s.key(t, "platform", "upgrade", stepsiesKey("read"))
	s.do(t, c).wantBody(t, http.StatusForbidden, stepsiesForbidden)
	s.patch(t, "platform", "upgrade", `{"spec":{"scopes":["read","write"]}}`)
	if e := s.becomes(t, c, http.StatusOK).echo(t); e.first("x-apikey-scopes") != "read write" {
		t.Errorf("the upstream was told of scopes %q", e.first("x-apikey-scopes"))
	}
	s.patch(t, "platform", "upgrade", `{"spec":{"scopes":["read"]}}`)
	s.becomes(t, c, http.StatusForbidden)
}

// TestStepsiesSuspension: a suspended key is turned away like an unknown one, and
// comes back.
func TestStepsiesSuspension(t *testing.T) {
	s := shared
	s.sample(t, "stepsies.yaml")
	c := call{host: stepsiesHost, path: "/v1/stepsies"}
	c.token = s.key(t, "platform", "suspended", stepsiesKey("read"))
	s.patch(t, "platform", "suspended", `{"spec":{"state":"Suspended"}}`)
	s.becomes(t, c, http.StatusUnauthorized).wantBody(t, http.StatusUnauthorized, stepsiesUnauthorized)
	s.patch(t, "platform", "suspended", `{"spec":{"state":"Active"}}`)
	s.becomes(t, c, http.StatusOK)
}
