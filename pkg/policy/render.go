package policy

// valueSet is which of a request's own values it has, besides its id, which all have.
type valueSet uint8

const (
	keyIDKnown valueSet = 1 << iota
	retryAfterKnown
	limitKnown
	valueSets // how many sets there are
)

// requestValues maps placeholder → the set of that value of the request alone.
var requestValues = map[placeholder]valueSet{
	keyIDValue: keyIDKnown, retryAfterValue: retryAfterKnown, limitValue: limitKnown,
}

// known is which of the values are there.
func (v *Values) known() valueSet {
	var set valueSet
	if v.KeyID != "" {
		set |= keyIDKnown
	}
	if v.RetryAfter > 0 {
		set |= retryAfterKnown
	}
	if isNumber(v.Limit) {
		set |= limitKnown
	}
	return set
}

// isNumber reports whether s is a positive integer as JSON writes it (RFC 8259, section
// 6), of at most 19 digits.
func isNumber(s string) bool {
	if s == "" || len(s) > 19 || s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// body is the body of a denial in the form for each set of values: a leaf whose value
// is not there is left out. Sets that make no difference share a form.
type body struct{ forms [valueSets]template }

// newBody renders all forms. Only rate_limited has more than the key's id.
func newBody(e *element, known map[placeholder]string, reason Reason) *body {
	var makeDifference valueSet
	for value, set := range requestValues {
		if (set == keyIDKnown || reason == RateLimited) && e.mentions(value) {
			makeDifference |= set
		}
	}
	b := &body{}
	for set := range valueSets {
		if seen := set & makeDifference; seen != set {
			b.forms[set] = b.forms[seen]
			continue
		}
		b.forms[set] = render(e, known, set)
	}
	return b
}

// size is what the forms take, in bytes, those that are the same once.
func (b *body) size() (n int) {
	counted := map[*part]bool{}
	for _, form := range b.forms {
		if len(form) > 0 && !counted[&form[0]] {
			counted[&form[0]] = true
			n += form.size()
		}
	}
	return n
}

// renderer writes a template.
type renderer struct {
	// known maps placeholder → value, "" or absent: there is none.
	known map[placeholder]string
	// will are the values that the request will have, besides its id.
	will valueSet
	out  template
	// text is rendered but not yet in out.
	text []byte
}

// render renders a body of which all but the request's own values is known.
func render(e *element, known map[placeholder]string, will valueSet) template {
	r := &renderer{known: known, will: will}
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
		if p.value != "" && r.known[p.value] == "" && !r.brought(p.value) {
			return false
		}
	}
	return true
}

// brought reports whether the request will have the value of a placeholder.
func (r *renderer) brought(p placeholder) bool {
	return p == requestIDValue || r.will&requestValues[p] != 0
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
		r.writePieces(e)
		r.text = append(r.text, '"')
	case numberElement:
		r.writePieces(e)
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

// writePieces renders the parts of a string. What only the request knows ends a part
// of the template.
func (r *renderer) writePieces(e *element) {
	for _, p := range e.pieces {
		switch {
		case p.value == "":
			r.text = appendEscaped(r.text, p.text)
		case r.known[p.value] != "":
			r.text = appendEscaped(r.text, r.known[p.value])
		default:
			r.out = append(r.out, part{text: string(r.text), value: p.value})
			r.text = r.text[:0]
		}
	}
}
