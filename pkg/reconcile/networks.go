package reconcile

import (
	"net/netip"

	"keygate.dev/keygate/api/v1alpha1"
)

// networks are what CIDRs name. One that can't be read stands for a network that no
// address is in: were it left out, a key with no other could be used from everywhere.
func networks(cidrs []v1alpha1.CIDR) []netip.Prefix {
	var out []netip.Prefix
	for _, cidr := range cidrs {
		network, err := netip.ParsePrefix(string(cidr))
		if err != nil {
			network = netip.Prefix{}
		}
		out = append(out, network)
	}
	return out
}
