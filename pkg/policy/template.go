package policy

import (
	"regexp"
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
	retryAfterValue     placeholder = "retryAfter"
	keyIDValue          placeholder = "keyId"
)

// placeholders are all of them, in the order of the documentation.
var placeholders = []placeholder{
	requestIDValue, reasonValue, messageValue, docsValue, requiredScopesValue, retryAfterValue, keyIDValue,
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

// part is rendered JSON and what comes behind it: [requestIDValue], [keyIDValue], or
// nothing.
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
		}
	}
	return dst
}

// renderer writes a template.
type renderer struct {
	// known maps placeholder → value, "" or absent: there is none.
	known map[placeholder]string
	// keyed: the request will have a key id.
	keyed bool
	out   template
	// text is rendered but not yet in out.
	text []byte
}

// render renders a body of which all but the request's own values is known.
func render(e *element, known map[placeholder]string, keyed bool) template {
	r := &renderer{known: known, keyed: keyed}
	if !r.has(e) {
		return template{{text: "null"}} // the body is one string, and it is left out
	}
	r.write(e)
	return append(r.out, part{text: string(r.text)})
}

// has reports whether there is something to put in for each placeholder of e, which
// otherwise is left out. Only strings are left out: an object without members stays.
func (r *renderer) has(e *element) bool {
	for _, p := range e.pieces {
		switch {
		case p.value == "" || p.value == requestIDValue:
		case p.value == keyIDValue:
			if !r.keyed {
				return false
			}
		case r.known[p.value] == "":
			return false
		}
	}
	return true
}

// write renders e.
func (r *renderer) write(e *element) {
	switch e.kind {
	case objectElement:
		r.writeAll(e, '{', '}')
	case arrayElement:
		r.writeAll(e, '[', ']')
	case stringElement:
		r.text = append(r.text, '"')
		for _, p := range e.pieces {
			r.writePiece(p)
		}
		r.text = append(r.text, '"')
	case verbatimElement:
		r.text = append(r.text, e.verbatim...)
	}
}

// writeAll renders the children of an object or an array that are not left out.
func (r *renderer) writeAll(e *element, begin, end byte) {
	r.text = append(r.text, begin)
	first := true
	for i := range e.children {
		child := &e.children[i]
		if !r.has(child) {
			continue
		}
		if !first {
			r.text = append(r.text, ',')
		}
		first = false
		if e.kind == objectElement {
			r.text = append(r.text, '"')
			r.text = appendEscaped(r.text, child.name)
			r.text = append(r.text, '"', ':')
		}
		r.write(child)
	}
	r.text = append(r.text, end)
}

// writePiece renders a part of a string. What only the request knows ends a part of
// the template.
func (r *renderer) writePiece(p piece) {
	switch p.value {
	case "":
		r.text = appendEscaped(r.text, p.text)
	case requestIDValue, keyIDValue:
		r.out = append(r.out, part{text: string(r.text), value: p.value})
		r.text = r.text[:0]
	default:
		r.text = appendEscaped(r.text, r.known[p.value])
	}
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
