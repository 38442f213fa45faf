package policy

import "keygate.dev/keygate/api/v1alpha1"

// Denial is the answer to a denied request, rendered ahead of time. It is shared:
// read only.
type Denial struct {
	// Status is the HTTP status.
	Status int
	// ContentType of the body.
	ContentType string
	// Challenge is the value of WWW-Authenticate (RFC 9110, section 11.6.1; RFC 6750,
	// section 3); "": the header is not sent.
	Challenge string
	// RetryAfter is the value of Retry-After, in seconds; 0: the header is not sent, or
	// only the request knows it (rate_limited).
	RetryAfter int
	// Headers are more headers of the answer, name (in lower case) and value.
	Headers [][2]string
	// Message is what {message} stands for: a sentence for people.
	Message string
	// RequiredScopes are the scopes that the rule asks for, separated by spaces; "" where
	// that is not why the request is denied.
	RequiredScopes string
	// RequiredPlan is the plan that the rule asks for; "" where that is not why the
	// request is denied.
	RequiredPlan string
	// Docs is a link to documentation; "": there is none.
	Docs string

	body *body
}

// Values are what is only known once a request is there.
type Values struct {
	// RequestID stands for {requestId}.
	RequestID string
	// KeyID stands for {keyId}; "": no key was looked at.
	KeyID string
	// RetryAfter stands for {retryAfter} of rate_limited, in seconds; 0 or less: it is
	// not known.
	RetryAfter int
	// Limit stands for {limit} of rate_limited: how many requests the exhausted window
	// has room for, in decimal digits; anything else: it is not known.
	Limit string
}

// AppendBody appends the body, which is valid JSON whatever the values are.
func (d *Denial) AppendBody(dst []byte, v Values) []byte {
	return d.body.forms[v.known()].append(dst, v)
}

// Denial is the answer to a request that is denied for reason, never nil. rule is
// the one that applies, nil where it did not come to that.
func (p *Policy) Denial(reason Reason, rule *Rule) *Denial {
	switch {
	case rule == nil:
	case reason == InsufficientScope && rule.scopeDenial != nil:
		return rule.scopeDenial
	case reason == PlanRequired && rule.planDenial != nil:
		return rule.planDenial
	}
	return denialOf(p.denials, reason)
}

// GenericDenial is the answer where no policy resolves, never nil: a problem
// document (RFC 9457).
func GenericDenial(reason Reason) *Denial { return denialOf(generic, reason) }

// generic maps reason → the answer where no policy resolves.
var generic = (&denials{
	realm: "keygate", scheme: defaultScheme, errors: &v1alpha1.Errors{}, rendered: map[rendering]*body{},
}).byReason()

// denialOf looks a denial up; what is no reason is answered as [Unavailable].
func denialOf(m map[Reason]*Denial, reason Reason) *Denial {
	if d := m[reason]; d != nil {
		return d
	}
	return m[Unavailable]
}
