package authz

import (
	"context"
	"time"
	"unsafe"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
	"keygate.dev/keygate/pkg/ratelimit"
)

// Keys finds the keys that callers send.
type Keys interface {
	// Digests appends the digests of a token to dst, one for each live pepper, the
	// newest first; none where there is no pepper.
	Digests(dst []apikey.Digest, token []byte) []apikey.Digest
	// Lookup returns the record of a digest; nil, nil where there is definitely no
	// such key; an error where it can't tell.
	Lookup(ctx context.Context, d apikey.Digest) (*apikey.Record, error)
}

// Limiter counts what keys use. It is what [ratelimit.Limiter] says.
type Limiter interface {
	// Take asks for a request of a key under limits, and charges its cost if it is
	// allowed. An error says that it can't tell.
	Take(ctx context.Context, key string, limits []ratelimit.Limit, cost int64) (ratelimit.Result, error)
}

// Decider judges requests. All fields but FixedPolicy are needed. Safe for
// concurrent use.
type Decider struct {
	// Keys finds keys.
	Keys Keys
	// Policies returns the policies in force, never nil.
	Policies func() *policy.Table
	// Synced reports whether Keys and Policies are complete. Nothing is judged
	// before.
	Synced func() bool
	// Limiter counts the requests of keys whose plan has limits. It returns within the
	// time that a decision may take.
	Limiter Limiter
	// FixedPolicy is the "namespace/name" that judges every request whose route
	// names none; "": the request's host chooses.
	FixedPolicy string
	// Now is the clock by which keys expire.
	Now func() time.Time
}

// Decide judges a request. It always returns a verdict: a failure to judge is a
// denial with the reason unavailable.
//
// The order is: well-formed, policy, TLS, preflight, rule (an anonymous one allows),
// credential, key, its policy, its state, its expiry, the client's address, its
// scopes, its plan, its limits.
func (d *Decider) Decide(ctx context.Context, r *Request) Verdict {
	v := Verdict{RequestID: r.requestID()}
	v.Reason, v.Detail = d.judge(ctx, r, &v)
	v.Allow = v.Reason == Allowed || v.Reason == Anonymous
	return v
}

// judge returns the outcome, and notes in v what it came by.
func (d *Decider) judge(ctx context.Context, r *Request, v *Verdict) (policy.Reason, Detail) {
	if !d.Synced() {
		return policy.Unavailable, DetailNotSynced
	}
	if ctx.Err() != nil {
		return policy.Unavailable, DetailCancelled
	}
	p, known := d.resolve(r)
	v.Policy = p
	if detail := r.malformed(p); detail != "" {
		return policy.MalformedRequest, detail
	}
	if !known {
		return policy.NoPolicy, ""
	}
	if p == nil {
		return policy.Unavailable, DetailPolicy
	}
	if p.RequireTLS() && !r.TLS {
		return policy.TLSRequired, ""
	}
	if p.AllowPreflight() && r.preflight() {
		return Anonymous, DetailPreflight
	}
	if v.Rule = p.Match(r.Method, r.path()); v.Rule == nil {
		return policy.NoRule, ""
	}
	if v.Rule.Anonymous {
		return Anonymous, ""
	}
	return d.judgeKey(ctx, r, v)
}

// resolve finds the policy that judges a request: the one that its route names,
// else the fixed one, else its host's.
func (d *Decider) resolve(r *Request) (p *policy.Policy, known bool) {
	name := r.Policy
	if name == "" {
		name = d.FixedPolicy
	}
	if name != "" {
		return d.Policies().ByName(name)
	}
	return d.Policies().ByHost(r.Host)
}

// judgeKey judges a request to a route that asks for a key.
func (d *Decider) judgeKey(ctx context.Context, r *Request, v *Verdict) (policy.Reason, Detail) {
	token, reason, detail := r.credential(v.Policy.Credentials())
	if reason != "" {
		return reason, detail
	}
	view := unsafe.Slice(unsafe.StringData(token), len(token))
	if apikey.CheckToken(view) != nil {
		return policy.MalformedKey, DetailToken
	}
	digests := d.digest(r, view)
	if len(digests) == 0 {
		return policy.Unavailable, DetailPepper
	}
	v.KeyID = digests[0].ID()
	if detail := d.find(ctx, digests, v); detail != "" {
		return policy.Unavailable, detail
	}
	if detail := d.invalid(v); detail != "" {
		return policy.InvalidKey, detail
	}
	plan, known := v.Policy.Plan(v.Record.Environment, v.Record.Plan)
	switch {
	case !known:
		// The record says what was granted; the policy has changed since, and the
		// controller has not judged the key again.
		return policy.InvalidKey, DetailNotGranted
	case !admits(v.Record.AllowedCIDRs, r.Address):
		return policy.AddressDenied, ""
	case !v.Rule.Permits(v.Policy.ScopeSet(v.Record.Scopes)):
		return policy.InsufficientScope, ""
	case !v.Rule.PermitsPlan(v.Policy, plan):
		return policy.PlanRequired, ""
	}
	return d.take(ctx, v, plan)
}

// digest computes the digests of a token into the request's own room and leaves
// nothing of the token on the stack.
func (d *Decider) digest(r *Request, token []byte) []apikey.Digest {
	burnStack() // grow the stack now: growing copies it and clears nothing
	digests := d.Keys.Digests(r.digests[:0], token)
	burnStack()
	burnRegisters()
	return digests
}

// find looks a key up under each of its digests. The record found is put into v,
// which stays without where there definitely is none. A failure counts only if no
// digest finds the key.
func (d *Decider) find(ctx context.Context, digests []apikey.Digest, v *Verdict) Detail {
	var failed Detail
	for _, digest := range digests {
		record, err := d.Keys.Lookup(ctx, digest)
		if err != nil {
			failed = DetailStore
			continue
		}
		if record != nil {
			v.Record, v.KeyID = record, digest.ID()
			return ""
		}
	}
	if ctx.Err() != nil {
		return DetailCancelled
	}
	return failed
}

// invalid says why the key in v lets nobody in, "" if it does. A record is good
// for the very policy that it was made for, not for another of its name.
func (d *Decider) invalid(v *Verdict) Detail {
	switch {
	case v.Record == nil:
		return DetailUnknown
	case v.Record.Policy != v.Policy.Ref():
		return DetailWrongPolicy
	case v.Record.RetiredAt != nil:
		return DetailRevoked
	case v.Record.State != apikey.Active:
		return stateDetail(v.Record.State)
	case v.Record.Expired(d.Now()):
		return DetailExpired
	}
	return ""
}

// stateDetail names the state of a key that is not active.
func stateDetail(state apikey.State) Detail {
	switch state {
	case apikey.Pending:
		return DetailPending
	case apikey.Suspended:
		return DetailSuspended
	case apikey.Revoked, apikey.Deleted:
		return DetailRevoked
	case apikey.NotGranted:
		return DetailNotGranted
	case apikey.Rotated:
		return DetailRotated
	}
	return DetailState
}
