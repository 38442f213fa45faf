package policy

import (
	"regexp"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// shape is how the text of a field must look. The schema of the API says the same;
// it is said again because an accepted policy must be sound by itself.
type shape struct {
	pattern *regexp.Regexp
	// most characters.
	most int
	// advice says what to write.
	advice string
}

const (
	dnsLabel = `[a-z0-9]([-a-z0-9]*[a-z0-9])?`
	dnsName  = dnsLabel + `(\.` + dnsLabel + `)*`
	// pathLiteral is a literal segment: pchar of RFC 3986, section 3.3, without ";".
	pathLiteral = `/([A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})+`
	pathName    = `[A-Za-z][A-Za-z0-9_]*`
)

// The shapes of a policy's fields.
var (
	namespaceShape   = newShape(63, dnsLabel, "a namespace is a DNS label in lower case")
	nameShape        = newShape(253, dnsName, "a name is a DNS name in lower case")
	hostShape        = newShape(253, `(\*\.)?`+dnsName, `write a DNS name in lower case, exact or with "*." before it`)
	basePathShape    = newShape(256, `/|(`+pathLiteral+`)+`, `write "/", or literal segments without a slash at the end, as "/v1"`)
	pathShape        = newShape(256, `(`+pathLiteral+`|/\{`+pathName+`\})*(/\{`+pathName+`\.\.\.\}|/)?`, `write literal segments, {name} for one segment, or {name...} at the end, as "/users/{id}"`)
	methodShape      = newShape(32, `[A-Z]+(-[A-Z]+)*`, "write an HTTP method in upper case, as GET")
	environmentShape = newShape(32, dnsLabel, "write lower-case letters, digits and hyphens, as live")
	planShape        = newShape(32, dnsLabel, "write lower-case letters, digits and hyphens, as business")
	scopeShape       = newShape(64, `[!#-\[\]-~]+`, `write visible ASCII without the double quote and the backslash, as read`)
	prefixShape      = newShape(32, `[A-Za-z0-9._~-]+`, "write letters, digits and ._~-, as sk_live_")
	headerShape      = newShape(64, `[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?`, "write a header's name, as X-API-Key")
	parameterShape   = newShape(64, `[A-Za-z0-9._~-]+`, "write a query parameter's name without encoding, as api_key")
	schemeShape      = newShape(32, `[A-Za-z][A-Za-z0-9-]*`, "write the name of a scheme, as Bearer")
	identityShape    = newShape(64, `x-[a-z0-9-]+-`, "write x-, lower-case letters, digits and hyphens, and a hyphen at the end, as x-apikey-")
	contentTypeShape = newShape(128, `[a-z]+/[a-z0-9.+-]+(; ?[a-z-]+=[A-Za-z0-9._-]+)?`, "write a media type, as application/json")
	errorHeaderShape = newShape(64, `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, "write a header's name in lower case, as x-support")
	errorValueShape  = newShape(512, `[!-~]([ -~]*[!-~])?`, "write visible ASCII, with spaces only in between")
	docsShape        = newShape(512, `https?://[!#-;=?-\[\]_a-z~]+`, "write an http or https URL")
)

// newShape anchors pattern at both ends.
func newShape(most int, pattern, advice string) shape {
	return shape{regexp.MustCompile(`^(?:` + pattern + `)$`), most, advice}
}

// check notes a text that does not have the shape, and reports whether it has.
func (s shape) check(found *problems, at *field.Path, text string) bool {
	if text == "" || len(text) > s.most || !s.pattern.MatchString(text) {
		found.add(at, "%q is not possible (at most %d characters): %s", text, s.most, s.advice)
		return false
	}
	return true
}
