package policy

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"keygate.dev/keygate/api/v1alpha1"
)

// defaultIdentityPrefix is the prefix of the identity headers where the policy gives
// none.
const defaultIdentityPrefix = "x-apikey-"

// Identity names the headers, in lower case, by which the API behind Envoy is told
// who calls.
type Identity struct {
	// Enabled: the headers are set. Where not, they are still removed when a caller
	// sends them.
	Enabled bool
	// Prefix that all of them begin with.
	Prefix string
	// ID has the key's id.
	ID string
	// Name has the APIKey's name.
	Name string
	// Namespace has the APIKey's namespace.
	Namespace string
	// Policy has "namespace/name" of the policy.
	Policy string
	// Environment has the key's environment.
	Environment string
	// Scopes has the key's scopes, separated by spaces.
	Scopes string
}

// Identity names the identity headers. It is shared: read only.
func (p *Policy) Identity() *Identity { return &p.identity }

// compileIdentity reads how the identity headers are named.
func compileIdentity(u *v1alpha1.Upstream, found *problems) Identity {
	prefix := u.Prefix
	if prefix == "" {
		prefix = defaultIdentityPrefix
	}
	at := field.NewPath("spec", "upstream", "prefix")
	identityShape.check(found, at, prefix)
	if isEnvoys(prefix) {
		found.add(at, "headers with %q are Envoy's own: choose another prefix", prefix)
	}
	if protocolHeaders[prefix+"id"] {
		found.add(at, "%sid is a header that Keygate reads itself: choose another prefix", prefix)
	}
	return Identity{
		Enabled:     u.Headers == nil || *u.Headers,
		Prefix:      prefix,
		ID:          prefix + "id",
		Name:        prefix + "name",
		Namespace:   prefix + "namespace",
		Policy:      prefix + "policy",
		Environment: prefix + "environment",
		Scopes:      prefix + "scopes",
	}
}

// has reports whether name is one of the headers.
func (id *Identity) has(name string) bool {
	switch name {
	case id.ID, id.Name, id.Namespace, id.Policy, id.Environment, id.Scopes:
		return true
	}
	return false
}

// isEnvoys reports whether a header's name or prefix is among those that Envoy reads
// and writes itself.
func isEnvoys(name string) bool {
	return strings.HasPrefix(name, "x-envoy-") || strings.HasPrefix(name, "x-forwarded-")
}
