package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Bounds of bodies.
const (
	// maxBody is the longest body, in bytes as given. Envoy buffers each answer, and
	// every rule with a message of its own may need a body of its own.
	maxBody = 16 << 10
	// maxPlaceholders is how many placeholders one body may have.
	maxPlaceholders = 64
	// maxBodies is how many there can be, as in the schema of the API.
	maxBodies = 32
	// maxBodyDepth is how deep objects and arrays may nest.
	maxBodyDepth = 32
)

// defaultBody is the key of the body for reasons that have none of their own.
const defaultBody = "default"

// element is a JSON value of a body, with the order of members and the text of
// numbers as given.
type element struct {
	kind elementKind
	// name of a member of an object.
	name string
	// pieces of a string.
	pieces []piece
	// verbatim is a number, true, false or null.
	verbatim string
	// children of an object or an array.
	children []element
}

// elementKind is a kind of JSON value.
type elementKind int

const (
	verbatimElement elementKind = iota
	stringElement
	objectElement
	arrayElement
	// numberElement is a string whose value is a number, and is written as one. Only
	// bodies of Keygate's own have it.
	numberElement
)

// problemDocument is the body where none is given: a problem document (RFC 9457). Of
// type about:blank, so that its title is the status's own phrase (section 4.2.1).
func problemDocument(o *outcome) *element {
	text := func(name, value string) element {
		return element{kind: stringElement, name: name, pieces: splitText(value)}
	}
	document := &element{kind: objectElement, children: []element{
		text("type", "about:blank"),
		text("title", o.title()),
		{kind: verbatimElement, name: "status", verbatim: strconv.Itoa(o.status)},
		text("detail", "{message}"),
		text("reason", "{reason}"),
		text("requestId", "{requestId}"),
		text("requiredScopes", "{requiredScopes}"),
		text("requiredPlan", "{requiredPlan}"),
		text("docs", "{docs}"),
	}}
	if o.reason == RateLimited {
		document.children = append(document.children,
			element{kind: numberElement, name: "retryAfter", pieces: splitText("{retryAfter}")},
			element{kind: numberElement, name: "limit", pieces: splitText("{limit}")},
		)
	}
	return document
}

// compileBodies reads the bodies that a policy gives.
func compileBodies(given map[string]apiextensionsv1.JSON, found *problems) map[string]*element {
	at := field.NewPath("spec", "errors", "bodies")
	if len(given) > maxBodies {
		found.add(at, "there are %d bodies, and %d at the most are possible: leave some out", len(given), maxBodies)
		return nil
	}
	out := make(map[string]*element, len(given))
	for _, key := range slices.Sorted(maps.Keys(given)) {
		body, err := parseBody(given[key].Raw)
		switch {
		case !isBodyKey(key):
			found.add(at.Key(key), "no denial has this body: name a reason, the status of one, or %s", defaultBody)
		case err != nil:
			found.add(at.Key(key), "%v", err)
		default:
			out[key] = body
		}
	}
	return out
}

// isBodyKey reports whether some denial would choose the body under key.
func isBodyKey(key string) bool {
	return key == defaultBody || slices.ContainsFunc(outcomes, func(o outcome) bool {
		return key == string(o.reason) || key == strconv.Itoa(o.status)
	})
}

// parseBody reads a body.
func parseBody(raw []byte) (*element, error) {
	switch {
	case len(raw) > maxBody:
		return nil, fmt.Errorf("it has %d bytes, and %d at the most are possible: shorten it", len(raw), maxBody)
	case len(raw) == 0:
		return nil, errors.New("it is empty: give JSON")
	case len(bracedName.FindAllIndex(raw, maxPlaceholders+1)) > maxPlaceholders:
		return nil, fmt.Errorf("it has more than %d placeholders: leave some out", maxPlaceholders)
	case !json.Valid(raw):
		return nil, errors.New("it is not JSON: give one JSON value")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	return readElement(dec, maxBodyDepth)
}

// readElement reads one JSON value, which may nest depth deep. The text that dec
// reads is known to be valid.
func readElement(dec *json.Decoder, depth int) (*element, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("it can't be read: %w", err)
	}
	switch v := token.(type) {
	case json.Delim:
		return readChildren(dec, v, depth-1)
	case string:
		return readString(v)
	case json.Number:
		return &element{verbatim: v.String()}, nil
	case bool:
		return &element{verbatim: strconv.FormatBool(v)}, nil
	}
	return &element{verbatim: "null"}, nil
}

// readString takes a string apart.
func readString(s string) (*element, error) {
	e := &element{kind: stringElement, pieces: splitText(s)}
	for _, p := range e.pieces {
		if p.value != "" && !slices.Contains(placeholders, p.value) {
			return nil, fmt.Errorf("{%s} is not a placeholder: use %s", p.value, placeholderNames())
		}
	}
	return e, nil
}

// placeholderNames lists the placeholders for people.
func placeholderNames() string {
	var names []string
	for _, p := range placeholders {
		names = append(names, "{"+string(p)+"}")
	}
	return strings.Join(names, ", ")
}

// readChildren reads an object or an array, of which the opening delimiter was read.
func readChildren(dec *json.Decoder, begin json.Delim, depth int) (*element, error) {
	if depth < 0 {
		return nil, fmt.Errorf("it nests deeper than %d levels: flatten it", maxBodyDepth)
	}
	e := &element{kind: arrayElement}
	if begin == '{' {
		e.kind = objectElement
	}
	for dec.More() {
		var name string
		if e.kind == objectElement {
			token, err := dec.Token()
			if err != nil {
				return nil, fmt.Errorf("it can't be read: %w", err)
			}
			name, _ = token.(string)
		}
		child, err := readElement(dec, depth)
		if err != nil {
			return nil, err
		}
		child.name = name
		e.children = append(e.children, *child)
	}
	_, err := dec.Token() // the closing delimiter
	return e, err
}

// mentions reports whether e has the placeholder v.
func (e *element) mentions(v placeholder) bool {
	return slices.ContainsFunc(e.pieces, func(p piece) bool { return p.value == v }) ||
		slices.ContainsFunc(e.children, func(child element) bool { return child.mentions(v) })
}
