package policy

import "net/http"

// Reason is why a request is denied: what callers, logs and metrics name.
type Reason string

// The reasons for a denial.
const (
	// MalformedRequest: the request can be read in more than one way.
	MalformedRequest Reason = "malformed_request"
	// MissingKey: no credential was sent.
	MissingKey Reason = "missing_key"
	// MalformedKey: what was sent can't be a key, or there are two.
	MalformedKey Reason = "malformed_key"
	// InvalidKey: the key is unknown, revoked, suspended, expired or another
	// policy's. Callers can't tell these apart.
	InvalidKey Reason = "invalid_key"
	// InsufficientScope: the key is good, but not for this route.
	InsufficientScope Reason = "insufficient_scope"
	// NoPolicy: no policy is responsible for the request.
	NoPolicy Reason = "no_policy"
	// NoRule: the policy has no rule for the path and method.
	NoRule Reason = "no_rule"
	// Unavailable: the request can't be judged now.
	Unavailable Reason = "unavailable"
)

// outcome is what a reason means to a caller.
type outcome struct {
	reason Reason
	// status of the answer (RFC 9110, section 15).
	status int
	// message is what {message} stands for.
	message string
	// challenge: the answer carries WWW-Authenticate (RFC 9110, section 11.6.1).
	challenge bool
	// code is the error parameter of the challenge (RFC 6750, section 3.1), "" for
	// none: who sent no key is told of no error.
	code string
	// retryAfter is when to try again, in seconds (RFC 9110, section 10.2.3); 0: not
	// said.
	retryAfter int
}

// outcomes is the one table of reasons.
var outcomes = []outcome{
	{reason: MalformedRequest, status: http.StatusBadRequest,
		message: "The request is ambiguous and was not judged: send a plain path, one host and well-formed headers."},
	{reason: MissingKey, status: http.StatusUnauthorized, challenge: true,
		message: "This request needs an API key."},
	{reason: MalformedKey, status: http.StatusUnauthorized, challenge: true, code: "invalid_token",
		message: "The API key could not be read: send exactly one key, in the documented form."},
	{reason: InvalidKey, status: http.StatusUnauthorized, challenge: true, code: "invalid_token",
		message: "The API key is not valid."},
	{reason: InsufficientScope, status: http.StatusForbidden, challenge: true, code: "insufficient_scope",
		message: "The API key lacks a scope that this request needs."},
	{reason: NoPolicy, status: http.StatusForbidden,
		message: "No API is open to callers at this address."},
	{reason: NoRule, status: http.StatusForbidden,
		message: "This path and method are not open to callers."},
	{reason: Unavailable, status: http.StatusServiceUnavailable, retryAfter: 5,
		message: "The request could not be judged. Try again in a few seconds."},
}

// byReason maps reason → its row of outcomes.
var byReason = func() map[Reason]*outcome {
	m := make(map[Reason]*outcome, len(outcomes))
	for i := range outcomes {
		m[outcomes[i].reason] = &outcomes[i]
	}
	return m
}()

// Reasons are all reasons for a denial, in the order of judgement.
func Reasons() []Reason {
	out := make([]Reason, len(outcomes))
	for i := range outcomes {
		out[i] = outcomes[i].reason
	}
	return out
}

// Status is the HTTP status of the answer. One that is no reason for a denial has
// that of [Unavailable].
func (r Reason) Status() int { return r.outcome().status }

// title is the status's own phrase.
func (o *outcome) title() string { return http.StatusText(o.status) }

// outcome is the row of r; that of [Unavailable] where there is none.
func (r Reason) outcome() *outcome {
	if o := byReason[r]; o != nil {
		return o
	}
	return byReason[Unavailable]
}
