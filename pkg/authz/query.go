package authz

import (
	"strings"
	"unsafe"

	"keygate.dev/keygate/pkg/policy"
)

// A query is judged as it was received. Its parameters are what "&" separates, a
// name ends at the first "=" (URL standard, section 5.1), and a declared name counts
// where it is spelled as declared. Nothing is decoded to find a key, because Keygate
// could not then take it off without rewriting the rest; what some server may decode
// or split into a declared name makes the request malformed.

// declares reports whether a place of a key is the query parameter name.
func declares(places []policy.Credential, name string) bool {
	if name == "" {
		return false
	}
	for i := range places {
		if places[i].Query == name {
			return true
		}
	}
	return false
}

// inQuery reports whether any place of a key is a query parameter.
func inQuery(places []policy.Credential) bool {
	for i := range places {
		if places[i].Query != "" {
			return true
		}
	}
	return false
}

// findInQuery adds what the declared query parameters hold.
func (r *Request) findInQuery(places []policy.Credential, c *credential) {
	if !inQuery(places) {
		return
	}
	for parameter := range strings.SplitSeq(r.query(), "&") {
		name, value, _ := strings.Cut(parameter, "=")
		if declares(places, name) {
			c.value, c.scheme, c.query = value, "", true
			c.filled++
		}
	}
}

// disguised reports whether the query has a declared parameter's name in another
// spelling: percent-encoded in whole or in part, or behind a ";", which some servers
// take for "&". Such a parameter would reach the upstream with the key in it.
func (r *Request) disguised(places []policy.Credential) bool {
	query := r.query()
	if !inQuery(places) || !strings.ContainsAny(query, "%;") {
		return false
	}
	for parameter := range strings.SplitSeq(query, "&") {
		split := strings.Contains(parameter, ";")
		for part := range strings.SplitSeq(parameter, ";") {
			name, _, _ := strings.Cut(part, "=")
			if split && declares(places, name) || spells(name, places) {
				return true
			}
		}
	}
	return false
}

// spells reports whether name has percent-encoded bytes and is, decoded once, that
// of a declared parameter.
func spells(name string, places []policy.Credential) bool {
	if !strings.Contains(name, "%") {
		return false
	}
	for i := range places {
		if decodesTo(name, places[i].Query) {
			return true
		}
	}
	return false
}

// decodesTo reports whether name, percent-decoded once, is want. What is no escape
// stands for itself.
func decodesTo(name, want string) bool {
	for len(name) > 0 && len(want) > 0 {
		c, size := unescapeByte(name)
		if c != want[0] {
			return false
		}
		name, want = name[size:], want[1:]
	}
	return name == "" && want == ""
}

// unescapeByte is the first byte that s stands for, and how many bytes of s do so:
// 3 for an escape, 1 for any other byte. s is not empty.
func unescapeByte(s string) (c byte, size int) {
	if s[0] == '%' && len(s) >= 3 {
		high, highOK := hexDigit(s[1])
		low, lowOK := hexDigit(s[2])
		if highOK && lowOK {
			return high<<4 | low, 3
		}
	}
	return s[0], 1
}

// hexDigit is the value of a hexadecimal digit.
func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// unescape percent-decodes a parameter's value once, as RFC 3986 has it: client
// libraries encode "/", "+", "=" and "~" of a key. A "+" stands for itself and not,
// as in forms, for a space, which no key has. A "%" that begins no escape stays, which
// no key has either. It fails where the value is too long for a key.
func (r *Request) unescape(value string) (string, bool) {
	if !strings.Contains(value, "%") {
		return value, true
	}
	n := 0
	for value != "" {
		c, size := unescapeByte(value)
		if n == len(r.unescaped) {
			return "", false
		}
		r.unescaped[n] = c
		n++
		value = value[size:]
	}
	return unsafe.String(&r.unescaped[0], n), true
}

// withoutKeys is the request target without the declared parameters, and whether it
// had any. What is left is as it was received, byte for byte and in its order; where
// nothing is, the "?" goes, too. It is a copy.
func (r *Request) withoutKeys(places []policy.Credential) (target string, changed bool) {
	path, query, found := strings.Cut(r.Path, "?")
	if !found || !inQuery(places) {
		return "", false
	}
	var kept strings.Builder
	kept.WriteString(path)
	separator := "?"
	for parameter := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(parameter, "=")
		if declares(places, name) {
			changed = true
			continue
		}
		kept.WriteString(separator)
		kept.WriteString(parameter)
		separator = "&"
	}
	if !changed {
		return "", false
	}
	return kept.String(), true
}
