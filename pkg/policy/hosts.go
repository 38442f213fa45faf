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
	if len(hosts) == 0 {
		return
	}
	checkNames(found, at, hosts, maxHosts)
	for i, host := range hosts {
		hostShape.check(found, at.Index(i), string(host))
	}
}

// hostOf is the host of an authority (RFC 3986, section 3.2) as policies claim it: in
// lower case, without the port and without the dot at the end. "" where it is none
// that a policy could claim, such as an IPv6 address, or one with a user.
func hostOf(authority string) string {
	host := authority
	if colon := strings.LastIndexByte(authority, ':'); colon >= 0 {
		if strings.Trim(authority[colon+1:], "0123456789") != "" {
			return ""
		}
		host = authority[:colon]
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) > maxHost || strings.HasPrefix(host, ".") || strings.Contains(host, "..") {
		return ""
	}
	for i := range len(host) {
		if c := host[i]; !isUnreserved(c) {
			return ""
		}
	}
	return strings.ToLower(host)
}
