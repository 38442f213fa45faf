// Package judgement says what would become of a request with a key, without the key and
// without sending it: the decision is extauthz's own, over what the APIKey's status and
// the APIKeyPolicy say.
package judgement

import (
	"context"
	"strings"
	"time"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/authz"
	"keygate.dev/keygate/pkg/policy"
	"keygate.dev/keygate/pkg/ratelimit"
)

// Request is what somebody would ask for.
type Request struct {
	// Method and Path, with its query if it has one.
	Method, Path string
	// Host of the request; "": the route names the policy.
	Host string
	// Plain: it comes without TLS.
	Plain bool
}

// standIn stands for the token, which nobody knows.
const standIn = "the-token"

// Judge decides a request. table holds the policies, and of is the one that the APIKey
// is for. Limits and the caller's address are left out: only the moment of the request
// knows them.
func Judge(ctx context.Context, table *policy.Table, of *policy.Policy, key *v1alpha1.APIKey, r Request, now time.Time) authz.Verdict {
	decider := authz.Decider{
		Keys:     one{recordOf(key, of)},
		Policies: func() *policy.Table { return table },
		Synced:   func() bool { return true },
		Limiter:  unlimited{},
		Now:      func() time.Time { return now },
	}
	request := &authz.Request{Method: r.Method, Path: r.Path, Host: r.Host, TLS: !r.Plain}
	if r.Host == "" {
		request.Policy, request.Host = of.String(), "keygate.invalid"
	}
	withCredential(request, of.Credentials()[0])
	return decider.Decide(ctx, request)
}

// withCredential puts the stand-in where the policy takes keys.
func withCredential(r *authz.Request, place policy.Credential) {
	switch {
	case place.Query != "" && strings.Contains(r.Path, "?"):
		r.Path += "&" + place.Query + "=" + standIn
	case place.Query != "":
		r.Path += "?" + place.Query + "=" + standIn
	case place.Scheme != "":
		r.Header = []authz.Field{{Name: place.Header, Value: place.Scheme + " " + standIn}}
	default:
		r.Header = []authz.Field{{Name: place.Header, Value: standIn}}
	}
}

// recordOf is the record that a status speaks of, that of the token in force; nil: none
// was issued.
func recordOf(key *v1alpha1.APIKey, of *policy.Policy) *apikey.Record {
	token := InForce(key)
	if token == nil {
		return nil
	}
	record := &apikey.Record{
		Digest: digest, Pepper: 1, Serial: max(token.Serial, 1),
		Owner:       apikey.Ref{Namespace: key.Namespace, Name: key.Name, UID: string(key.UID)},
		Policy:      of.Ref(),
		Environment: key.Status.Environment,
		Plan:        string(key.Status.Plan),
		State:       apikey.State(token.State),
	}
	for _, scope := range key.Status.Scopes {
		record.Scopes = append(record.Scopes, string(scope))
	}
	if key.Status.ExpiresAt != nil {
		record.ExpiresAt = &key.Status.ExpiresAt.Time
	}
	return record
}

// InForce is the token that callers use: of those that work the newest, else the newest
// of all; nil: none was issued.
func InForce(key *v1alpha1.APIKey) *v1alpha1.IssuedKey {
	var best *v1alpha1.IssuedKey
	for i := range key.Status.Keys {
		k := &key.Status.Keys[i]
		works, worked := k.State == string(apikey.Active), best != nil && best.State == string(apikey.Active)
		if best == nil || works && !worked || works == worked && k.Serial > best.Serial {
			best = k
		}
	}
	return best
}

// digest stands for that of the stand-in.
var digest = apikey.Digest{1}

// one is a key store with one key.
type one struct{ record *apikey.Record }

// Digests implements [authz.Keys].
func (one) Digests(dst []apikey.Digest, _ []byte) []apikey.Digest { return append(dst, digest) }

// Lookup implements [authz.Keys].
func (o one) Lookup(context.Context, apikey.Digest) (*apikey.Record, error) { return o.record, nil }

// unlimited lets everything through.
type unlimited struct{}

// Take implements [authz.Limiter].
func (unlimited) Take(context.Context, string, []ratelimit.Limit, int64) (ratelimit.Result, error) {
	return ratelimit.Result{Allowed: true}, nil
}
