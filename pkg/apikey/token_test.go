package apikey

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestCheckToken(t *testing.T) {
	long := strings.Repeat("a", MaxTokenLength)
	for name, tc := range map[string]struct {
		token string
		ok    bool
	}{
		"hex":                     {"sk_0123456789abcdef", true},
		"every token68 character": {"azAZ09-._~+/", true},
		"padding":                 {"abc==", true},
		"one character":           {"a", true},
		"longest":                 {long, true},
		"too long":                {long + "a", false},
		"empty":                   {"", false},
		"only padding":            {"==", false},
		"padding inside":          {"a=b", false},
		"space":                   {"a b", false},
		"tab":                     {"a\tb", false},
		"comma":                   {"a,b", false},
		"quote":                   {`"a"`, false},
		"NUL":                     {"a\x00", false},
		"not ASCII":               {"aé", false},
		"not UTF-8":               {"a\xff", false},
		"before a":                {"`", false},
		"after z":                 {"{", false},
		"before A":                {"@", false},
		"after Z":                 {"[", false},
		"after 9":                 {":", false},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckToken([]byte(tc.token))
			if (err == nil) != tc.ok {
				t.Errorf("CheckToken(%q) = %v, want ok %v", tc.token, err, tc.ok)
			}
			if err != nil && !errors.Is(err, ErrMalformedToken) {
				t.Errorf("CheckToken(%q) = %v, want ErrMalformedToken", tc.token, err)
			}
		})
	}
}

// token68 as RFC 9110, section 11.2, writes it.
var token68 = regexp.MustCompile(`^[A-Za-z0-9\-._~+/]+=*$`)

func FuzzCheckToken(f *testing.F) {
	for _, seed := range []string{"sk_abc", "a==", "", "=", "a=b", "a b", strings.Repeat("x", 513)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want := len(b) <= MaxTokenLength && token68.Match(b)
		if got := CheckToken(b) == nil; got != want {
			t.Errorf("CheckToken(%q) accepts: %v, RFC 9110: %v", b, got, want)
		}
	})
}
