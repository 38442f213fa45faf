package authz

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of envoy.service.auth.v3.CheckRequest and of what is read below
// it (envoy/service/auth/v3/external_auth.proto and attribute_context.proto,
// envoy/config/core/v3/base.proto and address.proto).
const (
	checkRequestAttributes protowire.Number = 1

	attributesSource            protowire.Number = 1
	attributesDestination       protowire.Number = 2
	attributesRequest           protowire.Number = 4
	attributesContextExtensions protowire.Number = 10

	peerAddress   protowire.Number = 1
	peerPrincipal protowire.Number = 4

	addressSocket protowire.Number = 1

	socketAddress protowire.Number = 2

	requestHTTP protowire.Number = 2

	httpMethod    protowire.Number = 2
	httpHeaders   protowire.Number = 3
	httpPath      protowire.Number = 4
	httpHost      protowire.Number = 5
	httpScheme    protowire.Number = 6
	httpHeaderMap protowire.Number = 13

	headerMapHeaders protowire.Number = 1

	headerValueKey      protowire.Number = 1
	headerValueValue    protowire.Number = 2
	headerValueRawValue protowire.Number = 3

	// Members of the entries of every map<string, string>.
	mapKey   protowire.Number = 1
	mapValue protowire.Number = 2
)

// policyExtension is the key of the context extension that names the policy of a
// route (AttributeContext.context_extensions).
const policyExtension = "keygate.dev/policy"

// checkRequest is a CheckRequest as it was received. It is parsed by hand and not
// into the generated type, which copies every header value onto the heap, where a
// token would lie until that memory is used again. Here all strings are views into
// one buffer, which is cleared before it goes back to its pool.
type checkRequest struct {
	Request
	// message is the encoded CheckRequest.
	message []byte
	// principal is AttributeContext.destination.principal: who Envoy's own certificate
	// says it is (its first URI or DNS name, else its subject), on connections with TLS
	// only. It needs no certificate of the client's.
	principal string
	// scheme is AttributeContext.HttpRequest.scheme.
	scheme string
	// peer is AttributeContext.source.address.socket_address.address: the other end of
	// the connection to Envoy, "" where that is no socket of IP.
	peer string
}

// maxPooledMessage is the largest buffer that is kept for the next request.
const maxPooledMessage = 64 << 10

var checkRequests = sync.Pool{New: func() any { return new(checkRequest) }}

// fill takes over a received message and clears what it was received into: small
// messages are not from the server's buffer pool, which clears its own.
func (c *checkRequest) fill(data mem.BufferSlice) {
	c.message = slices.Grow(c.message[:0], data.Len())
	for _, part := range data {
		c.message = append(c.message, part.ReadOnlyData()...)
		if small, ok := part.(mem.SliceBuffer); ok {
			clear(small)
		}
	}
	burnRegisters()
}

// release clears the message and gives the request back to the pool. No view into
// it may be used any more.
func (c *checkRequest) release() {
	clear(c.message)
	c.principal, c.scheme, c.peer = "", "", ""
	c.reset()
	if cap(c.message) <= maxPooledMessage {
		checkRequests.Put(c)
	}
}

// trust is what of a message is believed beside what Envoy itself knows of the
// connection.
type trust struct {
	// forwardedProto takes what x-forwarded-proto says for TLS.
	forwardedProto bool
	// client is where the client's address is read.
	client ClientAddress
}

// parse reads the message. What can't be read makes the request Unreadable; what
// was read before stays, so that the denial can be that of the right policy.
func (c *checkRequest) parse(t trust) {
	err := eachField(c.message, func(n protowire.Number, v value) error {
		if n != checkRequestAttributes {
			return nil
		}
		return v.message(c.attribute)
	})
	c.Unreadable = err != nil
	c.TLS = c.principal != "" || t.forwardedProto && c.forwardedTLS()
	c.Address = c.client(t.client)
}

// forwardedTLS reports whether the one x-forwarded-proto says https; the scheme, where
// Envoy shows Keygate no such field. Envoy (1.40) sets that field where it is absent,
// and with use_remote_address always. The scheme follows it with HTTP/1.1 only: with
// HTTP/2 it is what the last hop wrote into :scheme.
func (c *checkRequest) forwardedTLS() bool {
	proto, n := c.field("x-forwarded-proto")
	if n == 0 {
		proto = c.scheme
	}
	return n <= 1 && proto == "https"
}

// unnamed takes the place of an empty policy name: no policy has it, so a route that
// was meant to name one is not decided by another.
const unnamed = "/"

// attribute reads one field of AttributeContext.
func (c *checkRequest) attribute(n protowire.Number, v value) error {
	switch n {
	case attributesSource:
		return v.message(func(n protowire.Number, v value) error {
			if n != peerAddress {
				return nil
			}
			return v.message(c.address)
		})
	case attributesDestination:
		return v.message(func(n protowire.Number, v value) error {
			if n != peerPrincipal {
				return nil
			}
			return v.text(&c.principal)
		})
	case attributesRequest:
		return v.message(func(n protowire.Number, v value) error {
			if n != requestHTTP {
				return nil
			}
			return v.message(c.http)
		})
	case attributesContextExtensions:
		name, val, err := v.mapEntry()
		if name == policyExtension {
			c.Policy = cmp.Or(val, unnamed)
		}
		return err
	}
	return nil
}

// address reads one field of core.Address, of whose kinds the last one counts.
func (c *checkRequest) address(n protowire.Number, v value) error {
	c.peer = ""
	if n != addressSocket {
		return nil
	}
	return v.message(func(n protowire.Number, v value) error {
		if n != socketAddress {
			return nil
		}
		return v.text(&c.peer)
	})
}

// http reads one field of AttributeContext.HttpRequest.
func (c *checkRequest) http(n protowire.Number, v value) error {
	switch n {
	case httpMethod:
		return v.text(&c.Method)
	case httpPath:
		return v.text(&c.Path)
	case httpHost:
		return v.text(&c.Host)
	case httpScheme:
		return v.text(&c.scheme)
	case httpHeaders:
		name, val, err := v.mapEntry()
		c.Header = append(c.Header, Field{Name: name, Value: val})
		return err
	case httpHeaderMap:
		return v.message(func(n protowire.Number, v value) error {
			if n != headerMapHeaders {
				return nil
			}
			return c.headerValue(v)
		})
	}
	return nil
}

// errTwoValues is returned for a HeaderValue with both value and raw_value.
var errTwoValues = errors.New("header with two values")

// headerValue reads a HeaderValue of HttpRequest.header_map, which Envoy sends in
// place of headers with encode_raw_headers. "Only one of value or raw_value can be
// set" (base.proto).
func (c *checkRequest) headerValue(v value) error {
	var name, text, raw string
	err := v.message(func(n protowire.Number, v value) error {
		switch n {
		case headerValueKey:
			return v.text(&name)
		case headerValueValue:
			return v.text(&text)
		case headerValueRawValue:
			return v.text(&raw)
		}
		return nil
	})
	if err == nil && text != "" && raw != "" {
		err = errTwoValues
	}
	if raw != "" {
		text = raw
	}
	c.Header = append(c.Header, Field{Name: name, Value: text})
	return err
}
