package apikey

import "errors"

// MaxTokenLength is the longest token that is looked at, in bytes. Longer ones
// are refused before anything is computed from them.
const MaxTokenLength = 512

// ErrMalformedToken is returned for what cannot be a token.
var ErrMalformedToken = errors.New("not a token: 1 to 512 characters of token68 are needed")

// CheckToken reports whether b can be a token at all: 1 to [MaxTokenLength] bytes
// of token68 (RFC 9110, section 11.2). It returns [ErrMalformedToken] otherwise.
func CheckToken(b []byte) error {
	if len(b) == 0 || len(b) > MaxTokenLength {
		return ErrMalformedToken
	}
	end := len(b)
	for end > 0 && b[end-1] == '=' {
		end--
	}
	if end == 0 {
		return ErrMalformedToken
	}
	for _, c := range b[:end] {
		if !isToken68(c) {
			return ErrMalformedToken
		}
	}
	return nil
}

// isToken68 reports whether c may stand before the padding of a token68.
func isToken68(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	case c == '-', c == '.', c == '_', c == '~', c == '+', c == '/':
		return true
	}
	return false
}
