package version

import (
	"bytes"
	"testing"
)

func TestAsked(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"two dashes":        {[]string{"--version"}, "unknown\n"},
		"one dash":          {[]string{"-version"}, "unknown\n"},
		"no arguments":      {nil, ""},
		"another flag":      {[]string{"--help"}, ""},
		"beside other ones": {[]string{"--listen=:1", "--version"}, "unknown\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if asked := Asked(test.args, &out); asked != (test.want != "") || out.String() != test.want {
				t.Errorf("got %v, %q; want %q", asked, out.String(), test.want)
			}
		})
	}
}
