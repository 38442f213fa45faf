package authz

import (
	"crypto/rand"
	"net/netip"
	"strings"

	"keygate.dev/keygate/pkg/apikey"
)

// Field is one header field of a request, as it was received.
type Field struct {
	// Name in any case. Names that begin with a colon are HTTP/2 pseudo-header
	// fields.
	Name string
	// Value in whatever bytes the caller sent.
	Value string
}

// Request is what a request is judged by. Its strings may be views into a buffer
// that is used again: nothing in a [Verdict] refers to them. The zero Request is
// malformed.
type Request struct {
	// Method, literal.
	Method string
	// Path is the raw request target, with its query.
	Path string
	// Host is the authority, with its port if it has one.
	Host string
	// Policy is the "namespace/name" that the route was configured with; "": none.
	Policy string
	// Address of the client, an IPv4 one never in the form of IPv6 and none
	// with a zone; the zero Addr: not known. The edge was told where to read it.
	Address netip.Addr
	// TLS: the request reached Envoy over TLS. What a caller writes never sets it.
	TLS bool
	// Header holds every field, in order; a doubled one is there twice, or once with
	// its values joined by commas.
	Header []Field
	// Unreadable: the message could not be read to its end, so that what is here may
	// be only a part.
	Unreadable bool

	// digests is room for those of the token, so that no decision allocates them.
	digests [apikey.MaxPeppers]apikey.Digest
	// unescaped is room for a token that came percent-encoded, so that no copy of it
	// outlives the request.
	unescaped [apikey.MaxTokenLength]byte
}

// reset forgets the request and keeps the room for its fields.
func (r *Request) reset() {
	clear(r.Header)
	*r = Request{Header: r.Header[:0]}
}

// path is the request target without its query.
func (r *Request) path() string {
	path, _, _ := strings.Cut(r.Path, "?")
	return path
}

// query is what follows the first "?" of the request target, "" where there is none.
func (r *Request) query() string {
	_, query, _ := strings.Cut(r.Path, "?")
	return query
}

// field is the value of the field named name, which is in lower case, and how many
// of its name there are; of several, the value is the last one's.
func (r *Request) field(name string) (value string, n int) {
	for i := range r.Header {
		if equalFold(r.Header[i].Name, name) {
			value = r.Header[i].Value
			n++
		}
	}
	return value, n
}

// one is the value of the field named name, which is in lower case, if there is
// exactly one, else "".
func (r *Request) one(name string) string {
	if value, n := r.field(name); n == 1 {
		return value
	}
	return ""
}

// preflight reports whether r is a CORS preflight request (Fetch standard, section
// 3.3.2): OPTIONS with an Origin and an Access-Control-Request-Method, one of each
// and neither of them empty.
func (r *Request) preflight() bool {
	return r.Method == "OPTIONS" && r.one("origin") != "" && r.one("access-control-request-method") != ""
}

// grpc reports whether the caller speaks gRPC, exactly as Envoy tells it: by a
// content type of application/grpc or application/grpc+…, in lower case. Envoy then
// makes every answer of its own one of gRPC; "application/grpc-web" and
// "application/grpc;…" are not (Grpc::Common::hasGrpcContentType).
func (r *Request) grpc() bool {
	rest, found := strings.CutPrefix(r.one("content-type"), "application/grpc")
	return found && (rest == "" || rest[0] == '+')
}

// maxRequestID is the longest request id that is taken over, in bytes.
const maxRequestID = 128

// requestID is the value of x-request-id if it is 1 to 128 characters of
// [A-Za-z0-9._-] and there is only one, else a random one. It is a copy.
func (r *Request) requestID() string {
	found := r.one("x-request-id")
	if !isRequestID(found) {
		return rand.Text()
	}
	return strings.Clone(found)
}

// isRequestID reports whether s can be passed on as a request id.
func isRequestID(s string) bool {
	if s == "" || len(s) > maxRequestID {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
