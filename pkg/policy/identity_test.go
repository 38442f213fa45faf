package policy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/pkg/policy"
)

func TestIdentity(t *testing.T) {
	for name, c := range map[string]struct {
		spec, prefix string
		enabled      bool
	}{
		"default":        {"", "x-apikey-", true},
		"enabled":        {"upstream: {headers: true}", "x-apikey-", true},
		"disabled":       {"upstream: {headers: false}", "x-apikey-", false},
		"another prefix": {"upstream: {prefix: x-caller-}", "x-caller-", true},
	} {
		t.Run(name, func(t *testing.T) {
			want := &policy.Identity{
				Enabled: c.enabled, Prefix: c.prefix,
				ID: c.prefix + "id", Name: c.prefix + "name", Namespace: c.prefix + "namespace",
				Policy: c.prefix + "policy", Environment: c.prefix + "environment", Scopes: c.prefix + "scopes",
			}
			if diff := cmp.Diff(want, compile(t, c.spec).Identity()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		spec      string
		want      []policy.Credential
		challenge string
	}{
		"default": {"", []policy.Credential{{Header: "authorization", Scheme: "bearer"}}, `Bearer realm="stepsies"`},
		"the scheme is challenged as written": {
			"credentials: [{header: {name: Authorization, scheme: tOKEN}}]",
			[]policy.Credential{{Header: "authorization", Scheme: "token"}}, `tOKEN realm="stepsies"`,
		},
		"a header without a scheme": {
			"credentials: [{header: {name: X-API-Key}}]",
			[]policy.Credential{{Header: "x-api-key"}}, `ApiKey realm="stepsies"`,
		},
		"the first of several is challenged": {
			"credentials: [{header: {name: X-API-Key}}, {header: {name: Authorization, scheme: Bearer}}]",
			[]policy.Credential{{Header: "x-api-key"}, {Header: "authorization", Scheme: "bearer"}}, `ApiKey realm="stepsies"`,
		},
		"a query parameter, as written": {
			"credentials: [{query: {name: Api_Key}}]",
			[]policy.Credential{{Query: "Api_Key"}}, `ApiKey realm="stepsies"`,
		},
		"a header, then a query parameter": {
			"credentials: [{header: {name: Authorization, scheme: Bearer}}, {query: {name: authorization}}]",
			[]policy.Credential{{Header: "authorization", Scheme: "bearer"}, {Query: "authorization"}}, `Bearer realm="stepsies"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, c.spec)
			if diff := cmp.Diff(c.want, p.Credentials()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := p.Denial(policy.MissingKey, nil).Challenge; got != c.challenge {
				t.Errorf("challenge %q, want %q", got, c.challenge)
			}
		})
	}
}

// Headers that the protocol or Keygate itself reads or sets are neither a place for a
// key nor an error header.
func TestHeadersThatAreTaken(t *testing.T) {
	for use, c := range map[string]struct{ spec, want, names string }{
		"a key": {
			`credentials: [{header: {name: %d}}]`, `belongs to the protocol or to Envoy`,
			"host connection content-length content-type transfer-encoding te upgrade trailer keep-alive proxy-connection x-request-id x-envoy-a x-forwarded-for",
		},
		"an error header": {
			`errors: {headers: [{name: %d, value: v}]}`, `is set by Keygate or belongs to the protocol`,
			"content-type content-length transfer-encoding connection upgrade trailer te host www-authenticate retry-after x-request-id ratelimit ratelimit-policy grpc-status grpc-message grpc-status-details-bin x-envoy-a",
		},
	} {
		for _, name := range strings.Fields(c.names) {
			_, err := policy.Compile(source(t, strings.ReplaceAll(c.spec, "%d", name)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s as %s: %v", name, use, err)
			}
		}
	}
}
