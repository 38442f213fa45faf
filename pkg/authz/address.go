package authz

import (
	"fmt"
	"net/netip"
)

// ClientAddress says where the address is read that a key's allowedCIDRs are
// compared with.
type ClientAddress string

// Where the client's address is read.
const (
	// ClientPeer: of the other end of the connection to Envoy, or what the PROXY protocol
	// says in its place (AttributeContext.source.address). Nothing that is written into
	// a request changes it. The zero value means the same.
	ClientPeer ClientAddress = "peer"
	// ClientExternal: of the header x-envoy-external-address. An Envoy with
	// use_remote_address writes it from x-forwarded-for as far as xff_num_trusted_hops
	// goes, in place of what a caller sent; without, a caller writes it.
	ClientExternal ClientAddress = "x-envoy-external-address"
)

// ParseClientAddress reads one of peer and x-envoy-external-address.
func ParseClientAddress(s string) (ClientAddress, error) {
	switch from := ClientAddress(s); from {
	case ClientPeer, ClientExternal:
		return from, nil
	}
	return "", fmt.Errorf("%q is not one of %s, %s", s, ClientPeer, ClientExternal)
}

// client is the client's address, the zero Addr where it is not known: no address,
// two of them, or something else in its place.
func (c *checkRequest) client(from ClientAddress) netip.Addr {
	text := c.peer
	if from == ClientExternal {
		text = c.external()
	}
	if text == "" {
		return netip.Addr{}
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return address.Unmap().WithZone("")
}

// external is what x-envoy-external-address says, "" where that is not Envoy's word:
// on requests that Envoy (1.40) calls internal, by its internal_address_config, it
// leaves the header as the caller wrote it, and marks them with x-envoy-internal.
func (c *checkRequest) external() string {
	if _, internal := c.field("x-envoy-internal"); internal > 0 {
		return ""
	}
	return c.one(string(ClientExternal))
}

// admits reports whether a key may be used from an address: from everywhere, where
// there are no networks. An address that is not known is in none of them.
func admits(networks []netip.Prefix, address netip.Addr) bool {
	for _, network := range networks {
		if network.Contains(address) {
			return true
		}
	}
	return len(networks) == 0
}
