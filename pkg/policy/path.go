package policy

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// What makes a path one that is refused.
var (
	errNotAbsolute = errors.New(`it does not begin with "/"`)
	errEmpty       = errors.New(`it has an empty segment ("//")`)
	errDots        = errors.New(`it has a "." or ".." segment`)
	errCharacter   = errors.New("it has a character that must be percent-encoded or left out")
	errEscape      = errors.New(`it has a "%" that is not followed by two hex digits`)
	errSeparator   = errors.New("it has an encoded slash or backslash")
	errControl     = errors.New("it has an encoded control byte")
	errUnreserved  = errors.New("it has an encoded character that needs no encoding")
	errUTF8        = errors.New("it has encoded bytes that are not UTF-8")
)

// CheckPath returns an error that says what is wrong with a request's path, which is
// given without its query, where servers could read it in more than one way. Such a
// path is refused, never cleaned: what was judged is then what the API serves.
//
// Refused are: the empty path and one that does not begin with "/"; "//"; "." and
// ".." segments; "\", ";", "#", "?", spaces, control bytes and non-ASCII bytes as
// they are; an encoded slash, backslash, control byte or unreserved character (RFC
// 3986, section 2.3); a "%" without two hex digits; and encoded bytes that are not
// UTF-8, because overlong forms of "/" and "." are among them.
func CheckPath(path string) error {
	if path == "" || path[0] != '/' {
		return errNotAbsolute
	}
	for path != "" {
		var segment string
		segment, path = cutSegment(path)
		if segment == "" && path != "" {
			return errEmpty
		}
		if err := checkSegment(segment); err != nil {
			return err
		}
	}
	return nil
}

// cutSegment splits a path that begins with "/" into its first segment and what is
// below: "" or, again, a path that begins with "/".
func cutSegment(path string) (segment, below string) {
	path = path[1:]
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// checkSegment says why a segment is refused.
func checkSegment(segment string) error {
	if segment == "." || segment == ".." {
		return errDots
	}
	for i := 0; i < len(segment); {
		c := segment[i]
		if c == '%' {
			n, err := checkEscape(segment[i:])
			if err != nil {
				return err
			}
			i += n
			continue
		}
		if c <= ' ' || c >= 0x7f || c == '\\' || c == ';' || c == '#' || c == '?' {
			return errCharacter
		}
		i++
	}
	return nil
}

// checkEscape judges the character that the escapes at the beginning of s encode,
// and returns how many bytes of s they take.
func checkEscape(s string) (int, error) {
	c, ok := unescape(s)
	switch {
	case !ok:
		return 0, errEscape
	case c < ' ' || c == 0x7f:
		return 0, errControl
	case c == '/' || c == '\\':
		return 0, errSeparator
	case isUnreserved(c):
		return 0, errUnreserved
	case c < utf8.RuneSelf:
		return escapeLength, nil
	}
	var encoded [utf8.UTFMax]byte
	n := 0
	for ; n < len(encoded) && ok; n++ {
		encoded[n] = c
		c, ok = unescape(s[min(len(s), (n+1)*escapeLength):])
	}
	r, size := utf8.DecodeRune(encoded[:n])
	if r == utf8.RuneError && size == 1 {
		return 0, errUTF8
	}
	return size * escapeLength, nil
}

// escapeLength is the length of "%XX".
const escapeLength = 3

// unescape returns the byte that the escape at the beginning of s stands for; false
// where there is none.
func unescape(s string) (byte, bool) {
	if len(s) < escapeLength || s[0] != '%' {
		return 0, false
	}
	high, ok1 := hexDigit(s[1])
	low, ok2 := hexDigit(s[2])
	return high<<4 | low, ok1 && ok2
}

// hexDigit is the value of a hex digit.
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

// isUnreserved reports whether c is one of the unreserved characters of RFC 3986,
// section 2.3, which mean the same whether encoded or not.
func isUnreserved(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '-' || c == '.' || c == '_' || c == '~'
}

// decodeSegment decodes a segment, once. It allocates only where there is something
// to decode.
func decodeSegment(segment string) string {
	i := strings.IndexByte(segment, '%')
	if i < 0 {
		return segment
	}
	out := append(make([]byte, 0, len(segment)), segment[:i]...)
	for i < len(segment) {
		if c, ok := unescape(segment[i:]); ok {
			out, i = append(out, c), i+escapeLength
			continue
		}
		out, i = append(out, segment[i]), i+1
	}
	return string(out)
}
