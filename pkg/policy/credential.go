package policy

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"keygate.dev/keygate/api/v1alpha1"
)

// Credential is a place where callers may put the key: a header or a query parameter.
type Credential struct {
	// Header is the name of a request header, in lower case; "": it is a parameter.
	Header string
	// Scheme is what stands before the key in the header, in lower case; "": nothing
	// does. Schemes are compared without case (RFC 9110, section 11.1).
	Scheme string
	// Query is the name of a query parameter, as it is written: unreserved characters
	// (RFC 3986, section 2.3), compared with case; "": it is a header.
	Query string
}

// maxCredentials is how many credentials there can be, as in the schema of the API.
const maxCredentials = 8

// defaultScheme is that of the default credential, "Authorization: Bearer <key>".
const defaultScheme = "Bearer"

// defaultCredentials are those of a policy that gives none.
func defaultCredentials() []v1alpha1.Credential {
	return []v1alpha1.Credential{{Header: &v1alpha1.CredentialHeader{Name: "Authorization", Scheme: defaultScheme}}}
}

// bareScheme is what a challenge names where the key stands without a scheme.
const bareScheme = "ApiKey"

// protocolHeaders can't carry a key, because the protocol or Keygate itself reads
// them.
var protocolHeaders = map[string]bool{
	"host": true, "connection": true, "content-length": true, "content-type": true, "transfer-encoding": true, "te": true,
	"upgrade": true, "trailer": true, "keep-alive": true, "proxy-connection": true, "x-request-id": true,
}

// Credentials are the places where callers may put the key, at least one, no place
// twice. They are shared: read only.
func (p *Policy) Credentials() []Credential { return p.credentials }

// compileCredentials reads the credentials, and the scheme that challenges name: the
// first credential's, as it is written.
func compileCredentials(given []v1alpha1.Credential, id *Identity, found *problems) ([]Credential, string) {
	at := field.NewPath("spec", "credentials")
	if given == nil {
		given = defaultCredentials()
	}
	if len(given) == 0 {
		found.add(at, "the list is empty: leave it out for \"Authorization: Bearer <key>\", or fill it")
		return nil, ""
	}
	if !checkSize(found, at, given, maxCredentials) {
		return nil, ""
	}
	var out []Credential
	for i := range given {
		at := at.Index(i)
		c := compileCredential(at, &given[i], id, found)
		for _, other := range out {
			switch {
			case c.Header != "" && c.Header == other.Header:
				found.add(at.Child("header", "name"), "another credential has %q too: keep one of the two", given[i].Header.Name)
			case c.Query != "" && c.Query == other.Query:
				found.add(at.Child("query", "name"), "another credential has %q too: keep one of the two", c.Query)
			}
		}
		out = append(out, c)
	}
	scheme := bareScheme
	if first := given[0].Header; first != nil && first.Scheme != "" {
		scheme = first.Scheme
	}
	return out, scheme
}

// compileCredential reads one credential.
func compileCredential(at *field.Path, c *v1alpha1.Credential, id *Identity, found *problems) Credential {
	switch {
	case (c.Header != nil) == (c.Query != nil):
		found.add(at, "a credential is either a header or a query parameter: give exactly one of the two")
		return Credential{}
	case c.Query != nil:
		parameterShape.check(found, at.Child("query", "name"), c.Query.Name)
		return Credential{Query: c.Query.Name}
	}
	return compileHeader(at.Child("header"), c.Header, id, found)
}

// compileHeader reads a header that carries a key.
func compileHeader(at *field.Path, h *v1alpha1.CredentialHeader, id *Identity, found *problems) Credential {
	headerShape.check(found, at.Child("name"), h.Name)
	name := strings.ToLower(h.Name)
	switch {
	case protocolHeaders[name] || isEnvoys(name):
		found.add(at.Child("name"), "%q belongs to the protocol or to Envoy: choose another header", h.Name)
	case id.has(name):
		found.add(at.Child("name"), "%q tells the API who calls: choose another header or another spec.upstream.prefix", h.Name)
	}
	if h.Scheme != "" {
		schemeShape.check(found, at.Child("scheme"), h.Scheme)
	}
	return Credential{Header: name, Scheme: strings.ToLower(h.Scheme)}
}
