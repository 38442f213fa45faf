package authz

import (
	"strings"
	"testing"
)

func TestIsToken(t *testing.T) {
	// RFC 9110, section 5.6.2.
	const tchar = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for c := range 256 {
		s := string([]byte{byte(c)})
		if got, want := isToken(s), c < 0x80 && strings.Contains(tchar, s); got != want {
			t.Errorf("isToken(%q) = %v, want %v", s, got, want)
		}
		if got, want := isToken("a"+s), c < 0x80 && strings.Contains(tchar, s); got != want {
			t.Errorf("isToken(%q) = %v, want %v", "a"+s, got, want)
		}
	}
	if isToken("") {
		t.Error("the empty string is no token")
	}
}

// TestNormal compares the normal form with its definition, byte by byte.
func TestNormal(t *testing.T) {
	for c := range 0x80 {
		want := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(string(rune(c))))
		if got := string(rune(normal(byte(c)))); got != want {
			t.Errorf("normal(%#x) = %q, want %q", c, got, want)
		}
		if got, want := lower(byte(c)), strings.ToLower(string(rune(c)))[0]; got != want {
			t.Errorf("lower(%#x) = %q, want %q", c, got, want)
		}
	}
	for c := 0x80; c < 0x100; c++ {
		if normal(byte(c)) != byte(c) {
			t.Errorf("normal(%#x) changes it", c)
		}
	}
}

func TestNormalNames(t *testing.T) {
	for name, tc := range map[string]struct {
		name          string
		prefix, equal bool
	}{
		"the same":            {"x-key-", true, true},
		"other spelling":      {"X_Key.", true, true},
		"longer":              {"x-key-id", true, false},
		"shorter":             {"x-key", false, false},
		"empty":               {"", false, false},
		"another first byte":  {"y-key-", false, false},
		"another last byte":   {"x-keyz", false, false},
		"other bytes between": {"x-kay-", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hasNormalPrefix(tc.name, "x-key-"); got != tc.prefix {
				t.Errorf("hasNormalPrefix(%q) = %v", tc.name, got)
			}
			if got := equalNormal(tc.name, "x-key-"); got != tc.equal {
				t.Errorf("equalNormal(%q) = %v", tc.name, got)
			}
		})
	}
	if hasNormalPrefix("x", "") || hasNormalPrefix("", "") {
		t.Error("a name begins with the empty prefix")
	}
}

func TestEqualFold(t *testing.T) {
	for s, want := range map[string]bool{"host": true, "HoSt": true, "hos": false, "hosts": false, "hoſt": false, "gost": false, "hosu": false, "": false} {
		if got := equalFold(s, "host"); got != want {
			t.Errorf("equalFold(%q) = %v", s, got)
		}
	}
}
