package authz

import (
	"strings"

	"keygate.dev/keygate/pkg/policy"
)

// malformed says what makes a request one that can't be judged, "" if nothing
// does. p is the policy that judges it, nil where none resolves.
func (r *Request) malformed(p *policy.Policy) Detail {
	switch {
	case r.Unreadable:
		return DetailUnreadable
	case !isToken(r.Method) || r.Method == "CONNECT":
		return DetailMethod
	case !soundTarget(r.Path) || policy.CheckPath(r.path()) != nil:
		return DetailPath
	case p != nil && r.disguised(p.Credentials()):
		return DetailQuery
	}
	return r.malformedFields(p)
}

// soundTarget reports whether a request target is free of what no target may
// have in its path or its query: "#" (there is no fragment in a request), spaces
// and control bytes.
func soundTarget(target string) bool {
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == '#' || c == 0x7f {
			return false
		}
	}
	return true
}

// malformedFields says what is wrong with the header: pseudo-header fields that
// contradict the request, more than one host, or a Connection field that asks for
// the removal of a header that Keygate sets or reads (it would be taken off after
// Keygate set it: CVE-2024-45410).
func (r *Request) malformedFields(p *policy.Policy) Detail {
	hosts, authorities := 0, 0
	for i := range r.Header {
		name, value := r.Header[i].Name, r.Header[i].Value
		switch {
		case equalFold(name, ":method") && value != r.Method:
			return DetailMethod
		case equalFold(name, ":path") && value != r.Path:
			return DetailPath
		case equalFold(name, "host"):
			hosts++
			if value != r.Host {
				return DetailHost
			}
		case equalFold(name, ":authority"):
			authorities++
			if value != r.Host {
				return DetailHost
			}
		case p == nil:
		case equalFold(name, "connection") && takesAway(value, p):
			return DetailConnection
		case hasNormalPrefix(name, p.Identity().Prefix) && !isToken(name):
			return DetailHeader
		}
	}
	if hosts > 1 || authorities > 1 || strings.Contains(r.Host, ",") {
		return DetailHost
	}
	return ""
}

// takesAway reports whether a Connection value names an identity header or a
// header that carries a credential, in any spelling.
func takesAway(value string, p *policy.Policy) bool {
	for option := range strings.SplitSeq(value, ",") {
		option = strings.Trim(option, " \t")
		if hasNormalPrefix(option, p.Identity().Prefix) {
			return true
		}
		for _, place := range p.Credentials() {
			if place.Header != "" && equalNormal(option, place.Header) {
				return true
			}
		}
	}
	return false
}
