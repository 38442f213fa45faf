package policy

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"keygate.dev/keygate/api/v1alpha1"
)

// Credential is a place where callers may put the key.
type Credential struct {
	// Header is the name of a request header, in lower case.
	Header string
	// Scheme is what stands before the key, in lower case; "": nothing does. Schemes
	// are compared without case (RFC 9110, section 11.1).
	Scheme string
}

// maxCredentials is how many credentials there can be, as in the schema of the API.
const maxCredentials = 8

// defaultScheme is that of the default credential, "Authorization: Bearer <key>".
const defaultScheme = "Bearer"

// bareScheme is what a challenge names where the key stands without a scheme.
const bareScheme = "ApiKey"

// protocolHeaders can't carry a key, because the protocol or Keygate itself reads
// them.
var protocolHeaders = map[string]bool{
	"host": true, "connection": true, "content-length": true, "content-type": true, "transfer-encoding": true, "te": true,
	"upgrade": true, "trailer": true, "keep-alive": true, "proxy-connection": true, "x-request-id": true,
}

// Credentials are the places where callers may put the key, at least one, no header
// twice. They are shared: read only.
func (p *Policy) Credentials() []Credential { return p.credentials }

// compileCredentials reads the credentials, and the scheme that challenges name: the
// first credential's, as it is written.
func compileCredentials(given []v1alpha1.Credential, id *Identity, found *problems) ([]Credential, string) {
	at := field.NewPath("spec", "credentials")
	if given == nil {
		given = []v1alpha1.Credential{{Header: v1alpha1.CredentialHeader{Name: "Authorization", Scheme: defaultScheme}}}
	}
	if len(given) == 0 {
		found.add(at, "the list is empty: leave it out for \"Authorization: Bearer <key>\", or fill it")
		return nil, ""
	}
	if !checkSize(found, at, given, maxCredentials) {
		return nil, ""
	}
	var out []Credential
	seen := map[string]bool{}
	for i, g := range given {
		c := compileCredential(at.Index(i).Child("header"), g.Header, id, found)
		if seen[c.Header] {
			found.add(at.Index(i).Child("header", "name"), "another credential has %q too: keep one of the two", g.Header.Name)
		}
		seen[c.Header] = true
		out = append(out, c)
	}
	scheme := given[0].Header.Scheme
	if scheme == "" {
		scheme = bareScheme
	}
	return out, scheme
}

// compileCredential reads one credential.
func compileCredential(at *field.Path, h v1alpha1.CredentialHeader, id *Identity, found *problems) Credential {
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
