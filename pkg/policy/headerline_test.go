package policy_test

import "testing"

// TestHeaderLine: the line is as the policy spells it, from its first header.
func TestHeaderLine(t *testing.T) {
	for name, test := range map[string]struct{ credentials, want string }{
		"the default":              {"", "Authorization: Bearer "},
		"a scheme":                 {"credentials: [{header: {name: Authorization, scheme: ApiKey}}]", "Authorization: ApiKey "},
		"no scheme":                {"credentials: [{header: {name: X-API-Key}}]", "X-API-Key: "},
		"a header after a query":   {"credentials: [{query: {name: api_key}}, {header: {name: X-Key}}, {header: {name: Authorization}}]", "X-Key: "},
		"in query parameters only": {"credentials: [{query: {name: api_key}}]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := compile(t, test.credentials).HeaderLine(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
