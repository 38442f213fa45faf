package policy

import "net/http"

// Reason is why a request is denied: what callers, logs and metrics name.
type Reason string

// The reasons for a denial, in the order of judgement.
const (
	// MalformedRequest: the request can be read in more than one way.
	MalformedRequest Reason = "malformed_request"
	// NoPolicy: no policy is responsible for the request.
	NoPolicy Reason = "no_policy"
	// TLSRequired: the API is served over TLS only, and the request came without.
	TLSRequired Reason = "tls_required"
	// NoRule: the policy has no rule for the path and method.
	NoRule Reason = "no_rule"
	// MissingKey: no credential was sent.
	MissingKey Reason = "missing_key"
	// MalformedKey: what was sent can't be a key, or there are two.
	MalformedKey Reason = "malformed_key"
	// InvalidKey: the key is unknown, revoked, suspended, expired or another
	// policy's. Callers can't tell these apart.
	InvalidKey Reason = "invalid_key"
	// AddressDenied: the key may not be used from the caller's address.
	AddressDenied Reason = "address_denied"
	// InsufficientScope: the key is good, but not for this route.
	InsufficientScope Reason = "insufficient_scope"
	// PlanRequired: the key's plan does not include this route.
	PlanRequired Reason = "plan_required"
	// RateLimited: the key has made as many requests as its plan allows for now.
	RateLimited Reason = "rate_limited"
	// Unavailable: the request can't be judged now.
	Unavailable Reason = "unavailable"
)

// outcome is what a reason means to a caller.
type outcome struct {
	reason Reason
	// status of the answer (RFC 9110, section 15; RFC 6585, section 4).
	status int
	// grpc is the code of the answer to a gRPC caller (google.rpc.Code).
	grpc uint32
	// message is what {message} stands for.
	message string
	// challenge: the answer carries WWW-Authenticate (RFC 9110, section 11.6.1).
	challenge bool
	// code is the error parameter of the challenge (RFC 6750, section 3.1), "" for
	// none: who sent no key is told of no error.
	code string
	// retryAfter is when to try again, in seconds (RFC 9110, section 10.2.3); 0: not
	// said, or known only once the request is there.
	retryAfter int
}

// Codes of google.rpc.Code that denials have.
const (
	grpcInvalidArgument   = 3
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// outcomes is the one table of reasons, in the order of judgement.
var outcomes = []outcome{
	{reason: MalformedRequest, status: http.StatusBadRequest, grpc: grpcInvalidArgument,
		message: "The request is ambiguous and was not judged: send a plain path, one host and well-formed headers."},
	{reason: NoPolicy, status: http.StatusForbidden, grpc: grpcPermissionDenied,
		message: "No API is open to callers at this address."},
	{reason: TLSRequired, status: http.StatusForbidden, grpc: grpcPermissionDenied,
		message: "This API is served over HTTPS only."},
	{reason: NoRule, status: http.StatusForbidden, grpc: grpcPermissionDenied,
		message: "This path and method are not open to callers."},
	{reason: MissingKey, status: http.StatusUnauthorized, grpc: grpcUnauthenticated, challenge: true,
		message: "This request needs an API key."},
	{reason: MalformedKey, status: http.StatusUnauthorized, grpc: grpcUnauthenticated, challenge: true, code: "invalid_token",
		message: "The API key could not be read: send exactly one key, in the documented form."},
	{reason: InvalidKey, status: http.StatusUnauthorized, grpc: grpcUnauthenticated, challenge: true, code: "invalid_token",
		message: "The API key is not valid."},
	{reason: AddressDenied, status: http.StatusForbidden, grpc: grpcPermissionDenied,
		message: "The API key may not be used from this address."},
	{reason: InsufficientScope, status: http.StatusForbidden, grpc: grpcPermissionDenied, challenge: true, code: "insufficient_scope",
		message: "The API key lacks a scope that this request needs."},
	{reason: PlanRequired, status: http.StatusForbidden, grpc: grpcPermissionDenied,
		message: "The API key's plan does not include this request."},
	{reason: RateLimited, status: http.StatusTooManyRequests, grpc: grpcResourceExhausted,
		message: "The API key has made as many requests as its plan allows for now. Try again after the time that Retry-After gives."},
	{reason: Unavailable, status: http.StatusServiceUnavailable, grpc: grpcUnavailable, retryAfter: 5,
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

// GRPCCode is the code of the answer to a gRPC caller (google.rpc.Code). One that is
// no reason for a denial has that of [Unavailable].
func (r Reason) GRPCCode() uint32 { return r.outcome().grpc }

// title is the status's own phrase.
func (o *outcome) title() string { return http.StatusText(o.status) }

// outcome is the row of r; that of [Unavailable] where there is none.
func (r Reason) outcome() *outcome {
	if o := byReason[r]; o != nil {
		return o
	}
	return byReason[Unavailable]
}
