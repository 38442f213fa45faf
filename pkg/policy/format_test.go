package policy_test

import (
	"testing"

	"keygate.dev/keygate/pkg/apikey"
)

func TestFormat(t *testing.T) {
	const environments = "environments: [{name: live, prefix: sk_live_}, {name: test, prefix: sk_test_}]\n"
	for name, c := range map[string]struct {
		spec, environment string
		want              apikey.Format
		known             bool
	}{
		"default":                {"", "live", apikey.Format{Prefix: "sk_live_", Alphabet: apikey.Base62, Length: 40}, true},
		"another length":         {"keyFormat: {length: 30}", "live", apikey.Format{Prefix: "sk_live_", Alphabet: apikey.Base62, Length: 30}, true},
		"hex of default length":  {"keyFormat: {encoding: Hex}", "live", apikey.Format{Prefix: "sk_live_", Alphabet: apikey.Hex, Length: 40}, true},
		"base62":                 {"keyFormat: {encoding: Base62, length: 48}", "live", apikey.Format{Prefix: "sk_live_", Alphabet: apikey.Base62, Length: 48}, true},
		"an id":                  {"keyFormat: {encoding: Hex, idLength: 6}", "live", apikey.Format{Prefix: "sk_live_", Alphabet: apikey.Hex, IDLength: 6, Length: 40}, true},
		"another environment":    {environments, "test", apikey.Format{Prefix: "sk_test_", Alphabet: apikey.Base62, Length: 40}, true},
		"an unknown environment": {environments, "prod", apikey.Format{}, false},
		"no environment":         {environments, "", apikey.Format{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, c.spec)
			got, known := p.Format(c.environment)
			if got != c.want || known != c.known {
				t.Errorf("%+v, %v, want %+v, %v", got, known, c.want, c.known)
			}
			if p.DefaultEnvironment() != "live" {
				t.Errorf("default environment %q", p.DefaultEnvironment())
			}
		})
	}
}
