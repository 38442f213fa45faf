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
	// RetryAfter is the value of Retry-After, in seconds; 0: the header is not sent.
	RetryAfter int

	// keyed is the body where the key's id is known, plain where it is not.
	keyed, plain template
}

// Values are what is only known once a request is there.
type Values struct {
	// RequestID stands for {requestId}.
	RequestID string
	// KeyID stands for {keyId}; "": no key was looked at.
	KeyID string
}

// AppendBody appends the body, which is valid JSON whatever the values are.
func (d *Denial) AppendBody(dst []byte, v Values) []byte {
	if v.KeyID != "" {
		return d.keyed.append(dst, v)
	}
	return d.plain.append(dst, v)
}

// Denial is the answer to a request that is denied for reason, never nil. rule is
// the one that applies, nil where it did not come to that.
func (p *Policy) Denial(reason Reason, rule *Rule) *Denial {
	if reason == InsufficientScope && rule != nil && rule.denial != nil {
		return rule.denial
	}
	return denialOf(p.denials, reason)
}

// GenericDenial is the answer where no policy resolves, never nil: a problem
// document (RFC 9457).
func GenericDenial(reason Reason) *Denial { return denialOf(generic, reason) }

// generic maps reason → the answer where no policy resolves.
var generic = (&denials{
	realm: "keygate", scheme: defaultScheme, errors: &v1alpha1.Errors{}, rendered: map[rendering]bodies{},
}).byReason()

// denialOf looks a denial up; what is no reason is answered as [Unavailable].
func denialOf(m map[Reason]*Denial, reason Reason) *Denial {
	if d := m[reason]; d != nil {
		return d
	}
	return m[Unavailable]
}
