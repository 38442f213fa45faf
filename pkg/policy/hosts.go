package policy

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"keygate.dev/keygate/api/v1alpha1"
)

// maxHosts is how many hosts a policy can claim, as in the schema of the API.
const maxHosts = 32

// wildcard is what a claim to all names below another begins with.
const wildcard = "*."

// maxHost is the longest host that is looked up, in bytes: that of a DNS name. It
// bounds how many suffixes are tried.
const maxHost = 253

// checkHosts notes what can't be a host.
func checkHosts(hosts []v1alpha1.Host, found *problems) {
	at := field.NewPath("spec", "hosts")
	if !checkSize(found, at, hosts, maxHosts) {
		return
	}
	seen := map[v1alpha1.Host]bool{}
	for i, host := range hosts {
		hostShape.check(found, at.Index(i), string(host))
		if seen[host] {
			found.add(at.Index(i), "%q is there twice: leave one out", host)
		}
		seen[host] = true
	}
}

// hostOf is the host of an authority (RFC 3986, section 3.2) as policies claim it: in
// lower case, without the port and without the dot at the end. "" where there is none
// that a policy could claim.
func hostOf(authority string) string {
	host, ok := cutPort(authority)
	if !ok {
		return ""
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) > maxHost || strings.HasPrefix(host, ".") || strings.Contains(host, "..") {
		return ""
	}
	return lowerASCII(host)
}

// cutPort cuts the port off an authority; false where what is cut off is none. The
// colons of an IPv6 address are within brackets.
func cutPort(authority string) (string, bool) {
	colon := strings.LastIndexByte(authority, ':')
	if colon <= strings.LastIndexByte(authority, ']') {
		return authority, true
	}
	for _, c := range authority[colon+1:] {
		if c < '0' || c > '9' {
			return "", false
		}
	}
	return authority[:colon], true
}

// lowerASCII is s with A to Z in lower case. Letters beyond ASCII stay: some, such as
// the Kelvin sign, would become ASCII. It allocates only where it changes something.
func lowerASCII(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return strings.Map(func(r rune) rune {
				if 'A' <= r && r <= 'Z' {
					return r + ('a' - 'A')
				}
				return r
			}, s)
		}
	}
	return s
}
