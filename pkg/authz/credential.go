package authz

import "keygate.dev/keygate/pkg/policy"

// credential finds the token in the places that a policy declares. It is a view
// into the request.
//
// A place counts as filled once a field of its name is there, whatever the value:
// an empty value and another scheme ("Basic …" where Bearer is declared) are a
// malformed key, not a missing one. Two filled places, or one filled twice, are
// malformed however alike. What Envoy joined ("Bearer a,Bearer b") is no token68.
func (r *Request) credential(places []policy.Credential) (string, policy.Reason, Detail) {
	var found *Field
	var scheme string
	for i := range r.Header {
		for _, place := range places {
			if !equalFold(r.Header[i].Name, place.Header) {
				continue
			}
			if found != nil {
				return "", policy.MalformedKey, DetailDuplicate
			}
			found, scheme = &r.Header[i], place.Scheme
		}
	}
	if found == nil {
		return "", policy.MissingKey, ""
	}
	token, ok := cutScheme(found.Value, scheme)
	if !ok {
		return "", policy.MalformedKey, DetailScheme
	}
	return token, "", ""
}

// cutScheme takes the scheme and the one space behind it off a value. The scheme
// is compared without case (RFC 9110, section 11.1). RFC 9110 allows several
// spaces; Keygate takes exactly one, as RFC 6750, section 2.1, does.
func cutScheme(value, scheme string) (string, bool) {
	if scheme == "" {
		return value, true
	}
	n := len(scheme)
	if len(value) <= n || value[n] != ' ' || !equalFold(value[:n], scheme) {
		return "", false
	}
	return value[n+1:], true
}
