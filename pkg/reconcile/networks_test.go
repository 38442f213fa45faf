package reconcile

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// TestNetworks: a record has as many networks as its APIKey; one that can't be read
// is there all the same, and nothing is in it, also after the record was stored.
func TestNetworks(t *testing.T) {
	for name, test := range map[string]struct {
		cidrs []v1alpha1.CIDR
		want  []string
	}{
		"none":                     {nil, nil},
		"one of each kind":         {[]v1alpha1.CIDR{"203.0.113.0/24", "2001:db8::/32"}, []string{"203.0.113.0/24", "2001:db8::/32"}},
		"one that is no CIDR":      {[]v1alpha1.CIDR{"203.0.113.0"}, []string{""}},
		"such a one of two":        {[]v1alpha1.CIDR{"", "203.0.113.0/24"}, []string{"", "203.0.113.0/24"}},
		"one with a zone":          {[]v1alpha1.CIDR{"fe80::%eth0/64"}, []string{""}},
		"one with too long a mask": {[]v1alpha1.CIDR{"203.0.113.0/33"}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts{key: aKey(func(s *v1alpha1.APIKeySpec) { s.AllowedCIDRs = test.cidrs }), policy: aPolicy(t, "read"), ledger: naming(1), records: []*apikey.Record{aRecord(1)}, now: noon}
			data, err := apikey.MarshalRecord(decide(&f).elected)
			must(t, err)
			stored, err := apikey.ParseRecord(data)
			must(t, err)
			var got []string
			for _, network := range stored.AllowedCIDRs {
				text, err := network.MarshalText()
				must(t, err)
				got = append(got, string(text))
				if !network.IsValid() && (network.Contains(netip.IPv4Unspecified()) || network.Contains(netip.Addr{})) {
					t.Error("something is in a network that could not be read")
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
