package policy

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// placeholder is the name of a value that a body may hold, without its braces.
type placeholder string

// The placeholders.
const (
	requestIDValue      placeholder = "requestId"
	reasonValue         placeholder = "reason"
	messageValue        placeholder = "message"
	docsValue           placeholder = "docs"
	requiredScopesValue placeholder = "requiredScopes"
	requiredPlanValue   placeholder = "requiredPlan"
	retryAfterValue     placeholder = "retryAfter"
	limitValue          placeholder = "limit"
	keyIDValue          placeholder = "keyId"
)

// placeholders are all of them, in the order of the documentation.
var placeholders = []placeholder{
	requestIDValue, reasonValue, messageValue, docsValue, requiredScopesValue, requiredPlanValue,
	retryAfterValue, limitValue, keyIDValue,
}

// bracedName finds what is written as a placeholder. Other braces are plain text.
var bracedName = regexp.MustCompile(`\{[A-Za-z][A-Za-z0-9_]*\}`)

// piece is a part of a string: text, or, where value is not "", what that stands for.
type piece struct {
	text  string
	value placeholder
}

// splitText cuts a string at its placeholders.
func splitText(s string) []piece {
	var out []piece
	end := 0
	for _, at := range bracedName.FindAllStringIndex(s, -1) {
		out = append(out, piece{text: s[end:at[0]]}, piece{value: placeholder(s[at[0]+1 : at[1]-1])})
		end = at[1]
	}
	out = append(out, piece{text: s[end:]})
	return out
}

// template is a body in which everything but the request's own values is rendered.
type template []part

// part is rendered JSON and what comes behind it: [requestIDValue], one of
// [requestValues], or nothing.
type part struct {
	text  string
	value placeholder
}

// size is what the template takes, in bytes, less the request's own values.
func (t template) size() (n int) {
	for i := range t {
		n += len(t[i].text)
	}
	return n
}

// append appends the body with the values v.
func (t template) append(dst []byte, v Values) []byte {
	for i := range t {
		dst = append(dst, t[i].text...)
		switch t[i].value {
		case requestIDValue:
			dst = appendEscaped(dst, v.RequestID)
		case keyIDValue:
			dst = appendEscaped(dst, v.KeyID)
		case retryAfterValue:
			dst = strconv.AppendInt(dst, int64(v.RetryAfter), 10)
		case limitValue:
			dst = append(dst, v.Limit...) // digits
		}
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// appendEscaped appends s as it stands between the quotes of a JSON string (RFC 8259,
// section 7). "<", ">" and "&" are escaped too, so that no browser can take a body
// for markup; bytes that are not UTF-8 become U+FFFD.
func appendEscaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ' || c == 0x7f || strings.IndexByte("<>&", c) >= 0:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		default:
			dst = append(dst, c)
		}
		i++
	}
	return dst
}
