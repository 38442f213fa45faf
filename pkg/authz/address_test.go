package authz

import (
	"context"
	"net/netip"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
)

// networks reads CIDRs; "" is one that nothing is in.
func networks(cidrs ...string) (out []netip.Prefix) {
	for _, cidr := range cidrs {
		network, _ := netip.ParsePrefix(cidr)
		out = append(out, network)
	}
	return out
}

// socket is an address as Envoy sends it.
func socket(address string) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 41234},
	}}}
}

// TestAdmits: from where a key may be used.
func TestAdmits(t *testing.T) {
	for name, tc := range map[string]struct {
		networks []netip.Prefix
		address  string
		want     bool
	}{
		"no networks":                      {nil, "203.0.113.7", true},
		"no networks, no address":          {nil, "", true},
		"an empty list":                    {networks(), "203.0.113.7", true},
		"in it":                            {networks("203.0.113.0/24"), "203.0.113.7", true},
		"its first address":                {networks("203.0.113.0/24"), "203.0.113.0", true},
		"its last address":                 {networks("203.0.113.0/24"), "203.0.113.255", true},
		"the address before":               {networks("203.0.113.0/24"), "203.0.112.255", false},
		"the address behind":               {networks("203.0.113.0/24"), "203.0.114.0", false},
		"in the second":                    {networks("192.0.2.0/24", "203.0.113.0/24"), "203.0.113.7", true},
		"a single address":                 {networks("203.0.113.7/32"), "203.0.113.7", true},
		"the address beside":               {networks("203.0.113.7/32"), "203.0.113.6", false},
		"no address":                       {networks("203.0.113.0/24"), "", false},
		"no address, everywhere":           {networks("0.0.0.0/0", "::/0"), "", false},
		"everywhere":                       {networks("0.0.0.0/0"), "203.0.113.7", true},
		"everywhere of the other kind":     {networks("0.0.0.0/0"), "2001:db8::1", false},
		"IPv6":                             {networks("2001:db8::/32"), "2001:db8:1::1", true},
		"other IPv6":                       {networks("2001:db8::/32"), "2001:db9::1", false},
		"IPv4 in a network of all IPv6":    {networks("::/0"), "203.0.113.7", false},
		"a network that could not be read": {networks(""), "203.0.113.7", false},
		"beside one that could":            {networks("", "203.0.113.0/24"), "203.0.113.7", true},
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := netip.ParseAddr(tc.address)
			if got := admits(tc.networks, address); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestDecideAddress: the address is judged after the key's state and expiry and
// before its scopes.
func TestDecideAddress(t *testing.T) {
	denied := outcome{false, policy.AddressDenied, ""}
	past := now.Add(-time.Hour)
	for name, tc := range map[string]struct {
		address string
		spoil   func(*fixture)
		want    outcome
	}{
		"inside":                 {"203.0.113.7", func(*fixture) {}, allowed},
		"outside":                {"198.51.100.7", func(*fixture) {}, denied},
		"not known":              {"", func(*fixture) {}, denied},
		"outside, revoked":       {"198.51.100.7", func(f *fixture) { f.record.State = apikey.Revoked }, invalid(DetailRevoked)},
		"outside, suspended":     {"198.51.100.7", func(f *fixture) { f.record.State = apikey.Suspended }, invalid(DetailSuspended)},
		"outside, expired":       {"198.51.100.7", func(f *fixture) { f.record.ExpiresAt = &past }, invalid(DetailExpired)},
		"outside, unknown":       {"198.51.100.7", func(f *fixture) { clear(f.keys.records) }, invalid(DetailUnknown)},
		"outside, another plan":  {"198.51.100.7", func(f *fixture) { f.record.Plan = "gone" }, invalid(DetailNotGranted)},
		"outside, without scope": {"198.51.100.7", func(f *fixture) { f.record.Scopes = nil }, denied},
		"inside, without scope":  {"203.0.113.7", func(f *fixture) { f.record.Scopes = nil }, scopeLacking},
		"no CIDRs":               {"198.51.100.7", func(f *fixture) { f.record.AllowedCIDRs = nil }, allowed},
		"no CIDRs, not known":    {"", func(f *fixture) { f.record.AllowedCIDRs = nil }, allowed},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.record.AllowedCIDRs = networks("203.0.113.0/24", "2001:db8::/32")
			tc.spoil(f)
			r := request()
			r.Address, _ = netip.ParseAddr(tc.address)
			if got := f.outcome(r); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

// TestAddressDeniedIsNotCounted: a request from elsewhere uses no quota, and an
// anonymous one is let in from everywhere.
func TestAddressDeniedIsNotCounted(t *testing.T) {
	f := newCountedFixture(t, nil)
	f.Limiter = f.limiter
	f.record.AllowedCIDRs = networks("203.0.113.0/24")
	if v := f.Decide(context.Background(), request()); v.Reason != policy.AddressDenied || len(f.limiter.asked) != 0 {
		t.Errorf("%s after %d counts", v.Reason, len(f.limiter.asked))
	}
	if v := f.Decide(context.Background(), bare("GET", "/v1/status", Field{"x-api-key", token})); v.Reason != Anonymous {
		t.Errorf("anonymous: %s", v.Reason)
	}
}

// TestCheckAddress: where the address is read, on the wire.
func TestCheckAddress(t *testing.T) {
	external := func(values ...string) (fields []Field) {
		for _, value := range values {
			fields = append(fields, Field{"x-envoy-external-address", value})
		}
		return fields
	}
	elsewhere := socket("198.51.100.7")
	pipe := &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: "203.0.113.7"}}}
	for name, tc := range map[string]struct {
		source *corev3.Address
		header []Field
		// peer and external are the answers in the two modes.
		peer, external bool
	}{
		"the peer":                 {socket("203.0.113.7"), nil, true, false},
		"another peer":             {elsewhere, nil, false, false},
		"no source":                {nil, nil, false, false},
		"a pipe":                   {pipe, nil, false, false},
		"a name":                   {socket("client.test"), nil, false, false},
		"an empty address":         {socket(""), nil, false, false},
		"IPv4 in IPv6":             {socket("::ffff:203.0.113.7"), nil, true, false},
		"IPv4 in IPv6, in hex":     {socket("::ffff:cb00:7107"), nil, true, false},
		"other IPv4 in IPv6":       {socket("::ffff:198.51.100.7"), nil, false, false},
		"IPv6":                     {socket("2001:db8::7"), nil, true, false},
		"IPv6 with a zone":         {socket("2001:db8::7%eth0"), nil, true, false},
		"the header":               {elsewhere, external("203.0.113.7"), false, true},
		"the header in IPv6":       {elsewhere, external("2001:DB8:0::7"), false, true},
		"the header, IPv4 in IPv6": {elsewhere, external("::ffff:203.0.113.7"), false, true},
		"another header":           {socket("203.0.113.7"), external("198.51.100.7"), true, false},
		"two headers":              {elsewhere, external("203.0.113.7", "203.0.113.7"), false, false},
		"a list in the header":     {elsewhere, external("203.0.113.7,203.0.113.7"), false, false},
		"a port in the header":     {elsewhere, external("203.0.113.7:80"), false, false},
		"a space in the header":    {elsewhere, external(" 203.0.113.7"), false, false},
		"an octal in the header":   {elsewhere, external("203.0.113.007"), false, false},
		"an empty header":          {socket("203.0.113.7"), external(""), true, false},
		"x-forwarded-for":          {elsewhere, []Field{{"x-forwarded-for", "203.0.113.7"}}, false, false},
		"x-real-ip":                {elsewhere, []Field{{"x-real-ip", "203.0.113.7"}}, false, false},
		"forwarded":                {elsewhere, []Field{{"forwarded", "for=203.0.113.7"}}, false, false},
		"an internal request":      {elsewhere, append(external("203.0.113.7"), Field{"x-envoy-internal", "true"}), false, false},
		"another spelling":         {elsewhere, []Field{{"x_envoy_external_address", "203.0.113.7"}}, false, false},
	} {
		for from, want := range map[ClientAddress]bool{"": tc.peer, ClientPeer: tc.peer, ClientExternal: tc.external} {
			t.Run(name+"/"+string(from), func(t *testing.T) {
				f := newFixture(t)
				f.record.AllowedCIDRs = networks("203.0.113.0/24", "2001:db8::/32")
				in := envoyRequest(request(tc.header...), true)
				in.Attributes.Source = &authv3.AttributeContext_Peer{Address: tc.source}
				out := start(t, f, func(o *ServerOptions) { o.ClientAddress = from }).check(t, in)
				if allowed := out.GetOkResponse() != nil; allowed != want {
					t.Errorf("allowed %v, want %v", allowed, want)
				}
				reason := out.GetDynamicMetadata().AsMap()["reason"]
				if denied := out.GetDeniedResponse(); !want && (reason != "address_denied" || denied.GetStatus().GetCode() != 403) {
					t.Errorf("denied for %v with %v", reason, denied)
				}
			})
		}
	}
}

// TestPooledRequestForgetsTheAddress: one request's address is not the next one's.
func TestPooledRequestForgetsTheAddress(t *testing.T) {
	f := newFixture(t)
	f.record.AllowedCIDRs = networks("203.0.113.0/24")
	s := start(t, f, nil)
	known, unknown := envoyRequest(request(), true), envoyRequest(request(), true)
	known.Attributes.Source = &authv3.AttributeContext_Peer{Address: socket("203.0.113.7")}
	for range 20 {
		if s.check(t, known).GetOkResponse() == nil {
			t.Fatal("denied from inside")
		}
		if s.check(t, unknown).GetDeniedResponse() == nil {
			t.Fatal("allowed from nowhere")
		}
	}
}

func TestParseClientAddress(t *testing.T) {
	for _, text := range []string{"peer", "x-envoy-external-address"} {
		if from, err := ParseClientAddress(text); err != nil || string(from) != text {
			t.Errorf("%s: %s, %v", text, from, err)
		}
	}
	for _, text := range []string{"", "Peer", "x-forwarded-for"} {
		if from, err := ParseClientAddress(text); err == nil || from != "" {
			t.Errorf("%q: %q, %v", text, from, err)
		}
	}
}
