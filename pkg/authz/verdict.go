package authz

import (
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
	"keygate.dev/keygate/pkg/ratelimit"
)

// The outcomes of a request that is let through. They stand where a denial has its
// [policy.Reason].
const (
	// Allowed: a key was sent, and it may.
	Allowed policy.Reason = "allowed"
	// Anonymous: the route asks for no key, or the request is a CORS preflight that
	// the policy lets through.
	Anonymous policy.Reason = "anonymous"
)

// Detail tells operators, in logs, metrics and dynamic metadata, what callers are
// not told. "" where the reason says it all.
type Detail string

// Details of an allow.
const (
	// DetailPreflight: an anonymous CORS preflight request.
	DetailPreflight Detail = "preflight"
	// DetailLimitUnknown: the request was not counted, because the limiter failed and
	// the policy says FailOpen.
	DetailLimitUnknown Detail = "limit_unknown"
)

// Details of a malformed_request: what about it.
const (
	DetailUnreadable Detail = "unreadable"
	DetailMethod     Detail = "method"
	DetailPath       Detail = "path"
	// DetailQuery: a credential's parameter in another spelling.
	DetailQuery      Detail = "query"
	DetailHost       Detail = "host"
	DetailConnection Detail = "connection"
	DetailHeader     Detail = "header"
)

// Details of a malformed_key.
const (
	// DetailDuplicate: more than one credential.
	DetailDuplicate Detail = "duplicate"
	// DetailScheme: not the declared scheme and one space.
	DetailScheme Detail = "scheme"
	// DetailToken: not a token68 of at most 512 bytes.
	DetailToken Detail = "token"
)

// Details of an invalid_key: callers can't tell them apart.
const (
	DetailUnknown     Detail = "unknown"
	DetailWrongPolicy Detail = "wrong_policy"
	DetailPending     Detail = "pending"
	DetailSuspended   Detail = "suspended"
	DetailRevoked     Detail = "revoked"
	DetailRotated     Detail = "rotated"
	DetailNotGranted  Detail = "not_granted"
	DetailExpired     Detail = "expired"
	// DetailState: a state that this version does not know.
	DetailState Detail = "state"
)

// Details of unavailable.
const (
	// DetailNotSynced: the first list of keys and policies is not in.
	DetailNotSynced Detail = "not_synced"
	// DetailPolicy: the policy is known but can't be used.
	DetailPolicy Detail = "policy"
	// DetailPepper: there is no pepper to compute digests with.
	DetailPepper Detail = "pepper"
	// DetailStore: the key is known but its record can't be had.
	DetailStore Detail = "store"
	// DetailLimit: the limiter failed, and the policy says FailClosed.
	DetailLimit Detail = "limit"
	// DetailCancelled: the asker has gone.
	DetailCancelled Detail = "cancelled"
	// DetailPanic: the judgement failed. A bug.
	DetailPanic Detail = "panic"
)

// Verdict is what was decided and why. It refers to nothing in the [Request]. The
// zero Verdict denies.
type Verdict struct {
	// Allow lets the request through.
	Allow bool
	// Reason is that of a denial, or [Allowed] or [Anonymous].
	Reason policy.Reason
	// Detail for operators.
	Detail Detail
	// Policy that judged, nil where none resolves.
	Policy *policy.Policy
	// Rule that was applied, nil where it did not come to that.
	Rule *policy.Rule
	// Record of the key, nil where it did not come to that or there is none. Shared:
	// read only.
	Record *apikey.Record
	// KeyID of the key that was sent, "" where none was looked at. Unknown keys have
	// one too, so that an answer does not tell them from known ones.
	KeyID string
	// RequestID as received, or made.
	RequestID string
	// Quota is what the limiter said of an allow or of a rate_limited denial; zero
	// where nothing was counted.
	Quota ratelimit.Result
}

// Denial is the answer to the caller, never nil. It has no meaning on an allow.
func (v *Verdict) Denial() *policy.Denial {
	if v.Policy == nil {
		return policy.GenericDenial(v.Reason)
	}
	return v.Policy.Denial(v.Reason, v.Rule)
}

// retryAfter is when the caller may try again, in seconds; 0: not said.
func (v *Verdict) retryAfter(d *policy.Denial) int {
	if v.Reason == policy.RateLimited {
		return ratelimit.RetryAfterSeconds(v.Quota.RetryAfter)
	}
	return d.RetryAfter
}

// values are what the body of a denial is rendered with.
func (v *Verdict) values(d *policy.Denial) policy.Values {
	values := policy.Values{RequestID: v.RequestID, KeyID: v.KeyID}
	if v.Reason == policy.RateLimited {
		values.RetryAfter, values.Limit = v.retryAfter(d), exhausted(&v.Quota)
	}
	return values
}
