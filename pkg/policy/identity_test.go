package policy_test

import (
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
