package authz

import "keygate.dev/keygate/pkg/policy"

// credential is what was found in the declared places.
type credential struct {
	// value as it was sent, a view into the request.
	value string
	// scheme that stands before the token in lower case, "" for none.
	scheme string
	// query: the value is a query parameter's.
	query bool
	// filled is how many places are.
	filled int
}

// credential finds the token in the places that a policy declares. It is a view
// into the request.
//
// A place counts as filled once a field or a parameter of its name is there,
// whatever the value: an empty value and another scheme ("Basic …" where Bearer is
// declared) are a malformed key, not a missing one. Two filled places, or one filled
// twice, are malformed however alike. What Envoy joined ("Bearer a,Bearer b") is no
// token68.
func (r *Request) credential(places []policy.Credential) (string, policy.Reason, Detail) {
	var c credential
	r.findInHeader(places, &c)
	r.findInQuery(places, &c)
	switch {
	case c.filled == 0:
		return "", policy.MissingKey, ""
	case c.filled > 1:
		return "", policy.MalformedKey, DetailDuplicate
	case c.query:
		token, ok := r.unescape(c.value)
		if !ok {
			return "", policy.MalformedKey, DetailToken
		}
		return token, "", ""
	}
	token, ok := cutScheme(c.value, c.scheme)
	if !ok {
		return "", policy.MalformedKey, DetailScheme
	}
	return token, "", ""
}

// findInHeader adds what the declared headers hold.
func (r *Request) findInHeader(places []policy.Credential, c *credential) {
	for i := range r.Header {
		for _, place := range places {
			if place.Header != "" && equalFold(r.Header[i].Name, place.Header) {
				c.value, c.scheme, c.query = r.Header[i].Value, place.Scheme, false
				c.filled++
			}
		}
	}
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
