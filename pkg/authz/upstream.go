package authz

import (
	"slices"
	"strings"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
)

// overrides are request headers by which frameworks let a caller replace the
// method or the path that was judged. None reaches the upstream.
var overrides = []string{
	"x-http-method-override", "x-http-method", "x-method-override",
	"x-original-url", "x-rewrite-url",
}

// upstream says what an allowed request of one policy looks like upstream. It is
// made once per policy and then only read.
type upstream struct {
	// identity names the headers that Keygate sets.
	identity *policy.Identity
	// names are those of identity, the order of values.
	names [6]string
	// policy is the value of the policy header.
	policy string
	// remove is taken off every allowed request: credentials, overrides, and the
	// other spellings of names. None of names is in it.
	remove []string
	// handled has remove and names: what needs no removal of its own when a caller
	// sends it.
	handled map[string]bool
}

// newUpstream prepares what is the same for all requests of a policy.
//
// The "_" and "." spellings are removed unseen, because Envoy may be configured to
// show Keygate only some headers (allowed_headers).
func newUpstream(p *policy.Policy) *upstream {
	id := p.Identity()
	u := &upstream{
		identity: id,
		names:    [6]string{id.ID, id.Name, id.Namespace, id.Policy, id.Environment, id.Scopes},
		policy:   p.String(),
		handled:  map[string]bool{},
	}
	for _, name := range u.names {
		u.handled[name] = true
	}
	for _, place := range p.Credentials() {
		if place.Header != "" {
			u.alwaysRemove(place.Header)
		}
	}
	for _, name := range overrides {
		u.alwaysRemove(name)
		u.alwaysRemove(strings.ReplaceAll(name, "-", "_"))
		u.alwaysRemove(strings.ReplaceAll(name, "-", "."))
	}
	for _, name := range u.names {
		u.alwaysRemove(strings.ReplaceAll(name, "-", "_"))
		u.alwaysRemove(strings.ReplaceAll(name, "-", "."))
	}
	return u
}

// alwaysRemove adds a name to remove, once.
func (u *upstream) alwaysRemove(name string) {
	if !u.handled[name] {
		u.handled[name] = true
		u.remove = append(u.remove, name)
	}
}

// values are the identity headers' values, in the order of names. An empty one
// is not set but removed. All are empty for an anonymous request, and where the
// policy wants no headers.
func (u *upstream) values(v *Verdict) (values [6]string) {
	if v.Record == nil || !u.identity.Enabled {
		return values
	}
	owner := v.Record.Owner
	return [6]string{v.KeyID, owner.Name, owner.Namespace, u.policy, v.Record.Environment, scopeList(v.Record)}
}

// scopeList is a key's scopes as in the scope parameter of RFC 6749, section 3.3.
func scopeList(r *apikey.Record) string { return strings.Join(r.Scopes, " ") }

// removals are the names of the headers to take off a request beside remove: the
// identity headers without a value, and those that the caller sent under a name
// that might pass for one.
func (u *upstream) removals(r *Request, values *[6]string) []string {
	var out []string
	for i, value := range values {
		if value == "" {
			out = append(out, u.names[i])
		}
	}
	for i := range r.Header {
		if !u.suspect(r.Header[i].Name) {
			continue
		}
		if name := strings.ToLower(r.Header[i].Name); !u.handled[name] && !slices.Contains(out, name) {
			out = append(out, strings.Clone(name))
		}
	}
	return out
}

// suspect reports whether some server may take a header for one of Keygate's own,
// or for an override.
func (u *upstream) suspect(name string) bool {
	if hasNormalPrefix(name, u.identity.Prefix) {
		return true
	}
	for _, override := range overrides {
		if equalNormal(name, override) {
			return true
		}
	}
	return false
}
