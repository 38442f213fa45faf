package policy

import "strings"

// segment is one segment of a rule's path.
type segment struct {
	kind segmentKind
	// literal is the decoded text of a literal segment; "" is what follows a slash at
	// the end of a path.
	literal string
}

// segmentKind is what a segment matches.
type segmentKind int

const (
	// literalSegment matches its own text.
	literalSegment segmentKind = iota
	// anySegment, {name}, matches one segment that is not empty.
	anySegment
	// restSegments, {name...}, matches what is left, be it nothing.
	restSegments
)

// parseBase reads a base path of the shape [basePathShape]. "/" adds nothing to the
// paths below it.
func parseBase(base string) ([]segment, error) {
	if base == "/" {
		return nil, nil
	}
	return parsePattern(base)
}

// parsePattern reads a path of the shape [pathShape]. "/" is one empty segment, so
// that below the base path "/v1" it is "/v1/", which is not "/v1". What is wrong is
// an error of [CheckPath]: such a segment would never match.
func parsePattern(path string) ([]segment, error) {
	var out []segment
	for path != "" {
		var text string
		text, path = cutSegment(path)
		s, err := parseSegment(text)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// parseSegment reads one segment of a rule's path.
func parseSegment(text string) (segment, error) {
	if !strings.HasPrefix(text, "{") {
		return segment{kind: literalSegment, literal: decodeSegment(text)}, checkSegment(text)
	}
	if strings.HasSuffix(text, "...}") {
		return segment{kind: restSegments}, nil
	}
	return segment{kind: anySegment}, nil
}
