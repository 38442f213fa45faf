package policy_test

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"keygate.dev/keygate/pkg/policy"
)

func TestCheckPathAccepts(t *testing.T) {
	for name, path := range map[string]string{
		"the root":                           "/",
		"segments":                           "/v1/stepsies/42",
		"a slash at the end":                 "/v1/stepsies/",
		"dots within segments":               "/a.b/..c/d../.../.e",
		"what stands for itself":             "/-._~!$&'()*+,=:@",
		"what browsers send as it is":        `/"<>[]^{|}` + "`",
		"an encoded space":                   "/a%20b",
		"an encoded percent sign":            "/a%25b",
		"escapes in lower case":              "/a%2b%e2%82%ac",
		"escapes in upper case":              "/a%2B%E2%82%AC",
		"an encoded semicolon":               "/a%3Bb",
		"encoded UTF-8 of two bytes":         "/%C3%A9",
		"encoded UTF-8 of four bytes":        "/%F0%9F%98%80x",
		"encoded UTF-8 of four and of three": "/%F0%9F%98%80%E2%82%AC",
		"the replacement character":          "/%EF%BF%BD",
	} {
		t.Run(name, func(t *testing.T) {
			if err := policy.CheckPath(path); err != nil {
				t.Errorf("%q is refused: %v", path, err)
			}
		})
	}
}

func TestCheckPathRefuses(t *testing.T) {
	const (
		absolute, empty, dots = `does not begin with "/"`, "empty segment", `"." or ".." segment`
		character, escape     = "a character that must be", "not followed by two hex digits"
		separator, control    = "encoded slash or backslash", "encoded control byte"
		unreserved, utf       = "needs no encoding", "not UTF-8"
	)
	for name, c := range map[string]struct{ path, want string }{
		"nothing":                         {"", absolute},
		"an asterisk":                     {"*", absolute},
		"an authority":                    {"example.com:443", absolute},
		"an empty segment first":          {"//a", empty},
		"an empty segment between":        {"/a//b", empty},
		"an empty segment last":           {"/a//", empty},
		"two slashes":                     {"//", empty},
		"a dot segment":                   {"/a/./b", dots},
		"a dot segment last":              {"/a/.", dots},
		"a dot-dot segment":               {"/a/../b", dots},
		"a dot-dot segment last":          {"/a/..", dots},
		"a backslash":                     {`/a\b`, character},
		"a semicolon":                     {"/a;b=c", character},
		"a fragment":                      {"/a#b", character},
		"a query":                         {"/a?b", character},
		"a space":                         {"/a b", character},
		"a NUL":                           {"/a\x00", character},
		"a line break":                    {"/a\n", character},
		"the last control byte":           {"/a\x1f", character},
		"a DEL":                           {"/a\x7f", character},
		"the first byte beyond ASCII":     {"/a\x80", character},
		"an é":                            {"/é", character},
		"a percent sign at the end":       {"/a%", escape},
		"half an escape":                  {"/a%2", escape},
		"half an escape before a segment": {"/a%2/b", escape},
		"an escape without hex digits":    {"/a%zz", escape},
		"an escape with a sign":           {"/a%+1", escape},
		"an escape beyond F":              {"/a%2G", escape},
		"an escape beyond f":              {"/a%g0", escape},
		"an encoded slash":                {"/a%2Fb", separator},
		"an encoded slash in lower case":  {"/a%2fb", separator},
		"an encoded backslash":            {"/a%5Cb", separator},
		"an encoded NUL":                  {"/a%00", control},
		"an encoded line break":           {"/a%0A", control},
		"the last encoded control byte":   {"/a%1F", control},
		"an encoded DEL":                  {"/a%7F", control},
		"an encoded a":                    {"/%61dmin", unreserved},
		"an encoded z":                    {"/%7a", unreserved},
		"an encoded A":                    {"/%41", unreserved},
		"an encoded Z":                    {"/%5A", unreserved},
		"an encoded 0":                    {"/%30", unreserved},
		"an encoded 9":                    {"/%39", unreserved},
		"an encoded hyphen":               {"/%2D", unreserved},
		"an encoded dot":                  {"/%2E%2E/a", unreserved},
		"an encoded underscore":           {"/%5F", unreserved},
		"an encoded tilde":                {"/%7E", unreserved},
		"an overlong slash":               {"/a%C0%AF", utf},
		"an overlong slash of three":      {"/a%E0%80%AF", utf},
		"an overlong dot":                 {"/%C0%AE", utf},
		"Latin-1":                         {"/caf%E9", utf},
		"UTF-8 cut off by the end":        {"/%E2%82", utf},
		"UTF-8 cut off by a segment":      {"/%E2%82/%AC", utf},
		"UTF-8 cut off by a letter":       {"/%E2%82a", utf},
		"UTF-8 with a malformed escape":   {"/%E2%82%zz", utf},
		"a continuation alone":            {"/%80", utf},
		"a surrogate":                     {"/%ED%A0%80", utf},
		"what follows good UTF-8":         {"/%C3%A9%2F", separator},
		"what follows four bytes":         {"/%F0%9F%98%80%61", unreserved},
	} {
		t.Run(name, func(t *testing.T) {
			err := policy.CheckPath(c.path)
			if err == nil {
				t.Fatalf("%q is accepted", c.path)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: the error does not say %q: %v", c.path, c.want, err)
			}
		})
	}
}

// canonical is what a path must look like but for what its escapes stand for.
var canonical = regexp.MustCompile(`^(/([!"$&-.0-:<->@-\[\]-~]|%[0-9A-Fa-f]{2})+)*/?$`)

// unreservedEscape is an escape of an unreserved character.
var unreservedEscape = regexp.MustCompile(`%(2[dDeE]|3[0-9]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])`)

// obviouslyCanonical judges a path as CheckPath must, from what it decodes to.
func obviouslyCanonical(path string) bool {
	if path == "" || !canonical.MatchString(path) || unreservedEscape.MatchString(path) {
		return false
	}
	for _, segment := range strings.Split(path[1:], "/") {
		decoded, err := url.PathUnescape(segment)
		if err != nil || !utf8.ValidString(decoded) || decoded == "." || decoded == ".." ||
			strings.ContainsAny(decoded, `/\`) || strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return false
		}
	}
	return true
}

func FuzzCheckPath(f *testing.F) {
	for _, path := range []string{"/", "/v1/a%20b/", "/a//b", "/%2e%2e/", "/%C0%AF", "/%F0%9F%98%80", "/a;b", `/a\b`, "/%25%36%31", "/%256a"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		err := policy.CheckPath(path)
		if want := obviouslyCanonical(path); (err == nil) != want {
			t.Errorf("CheckPath(%q) = %v, but canonical: %v", path, err, want)
		}
	})
}
