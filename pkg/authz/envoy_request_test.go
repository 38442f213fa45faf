package authz

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"keygate.dev/keygate/pkg/policy"
)

// parse reads an encoded CheckRequest by hand.
func parse(data []byte) *checkRequest {
	c := &checkRequest{message: data}
	c.parse(trust{})
	return c
}

// seen is what either parser saw in a CheckRequest, in an order of its own.
type seen struct {
	Method, Path, Host, Policy string
	Header                     []Field
	Unreadable, TLS            bool
	Peer                       string
}

// byHand is what the parser of this package saw. The last of equal map keys counts
// where lastWins is set.
func byHand(c *checkRequest, lastWins bool) seen {
	s := seen{c.Method, c.Path, c.Host, c.Policy, slices.Clone(c.Header), c.Unreadable, c.TLS, c.peer}
	if lastWins {
		last := map[string]string{}
		for _, f := range s.Header {
			last[f.Name] = f.Value
		}
		s.Header = nil
		for name, value := range last {
			s.Header = append(s.Header, Field{name, value})
		}
	}
	s.sort()
	return s
}

// generated is what the generated type holds.
func generated(m *authv3.CheckRequest) seen {
	http := m.GetAttributes().GetRequest().GetHttp()
	s := seen{
		Method: http.GetMethod(), Path: http.GetPath(), Host: http.GetHost(),
		Policy: m.GetAttributes().GetContextExtensions()["keygate.dev/policy"],
		TLS:    m.GetAttributes().GetDestination().GetPrincipal() != "",
		Peer:   m.GetAttributes().GetSource().GetAddress().GetSocketAddress().GetAddress(),
	}
	if _, named := m.GetAttributes().GetContextExtensions()["keygate.dev/policy"]; named && s.Policy == "" {
		s.Policy = unnamed
	}
	for name, value := range http.GetHeaders() {
		s.Header = append(s.Header, Field{name, value})
	}
	for _, h := range http.GetHeaderMap().GetHeaders() {
		s.Unreadable = s.Unreadable || h.GetValue() != "" && len(h.GetRawValue()) > 0
		s.Header = append(s.Header, Field{h.GetKey(), h.GetValue() + string(h.GetRawValue())})
	}
	s.sort()
	return s
}

func (s *seen) sort() {
	slices.SortFunc(s.Header, func(a, b Field) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Value, b.Value))
	})
}

// randomRequest makes a CheckRequest with everything that Envoy may send.
func randomRequest(r *rand.Rand) *authv3.CheckRequest {
	text := func(n int) string {
		b := make([]byte, r.IntN(n))
		for i := range b {
			b[i] = byte(' ' + r.IntN(95))
		}
		return string(b)
	}
	texts := func(n int) map[string]string {
		m := map[string]string{}
		for range r.IntN(n) {
			m[text(20)] = text(300)
		}
		return m
	}
	http := &authv3.AttributeContext_HttpRequest{
		Id: text(20), Method: text(8), Path: text(200), Host: text(40), Scheme: text(6), Size: r.Int64() - r.Int64(),
		Protocol: text(9), Body: text(50), RawBody: []byte(text(50)), Query: text(5), Fragment: text(5),
	}
	if r.IntN(2) == 0 {
		http.Headers = texts(12)
	} else {
		http.HeaderMap = &corev3.HeaderMap{}
		for range r.IntN(12) {
			h := &corev3.HeaderValue{Key: text(20), RawValue: []byte(text(300) + "\xff")}
			if r.IntN(4) == 0 {
				h.RawValue, h.Value = nil, text(30)
			}
			http.HeaderMap.Headers = append(http.HeaderMap.Headers, h)
		}
	}
	extensions := texts(3)
	if r.IntN(2) == 0 {
		extensions["keygate.dev/policy"] = text(30)
	}
	peer := func() *authv3.AttributeContext_Peer {
		p := &authv3.AttributeContext_Peer{Service: text(10), Principal: text(3), Certificate: text(300), Labels: texts(3)}
		switch r.IntN(4) {
		case 0:
			p.Address = &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: text(20)}}}
		case 1:
			p.Address = socket(text(20))
		}
		return p
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: peer(), Destination: peer(), ContextExtensions: extensions,
		MetadataContext:      &corev3.Metadata{},
		RouteMetadataContext: &corev3.Metadata{},
		TlsSession:           &authv3.AttributeContext_TLSSession{Sni: text(20)},
		Request: &authv3.AttributeContext_Request{
			Time: timestamppb.New(now), Http: http,
		},
	}}
}

// TestParseIsUnmarshal compares the parser with that of the generated type.
func TestParseIsUnmarshal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		m := randomRequest(r)
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(generated(m), byHand(parse(data), false)); diff != "" {
			t.Fatalf("message %d: %s", i, diff)
		}
	}
}

// TestParseCut: a cut message is unreadable wherever it is cut, unless the cut
// falls between two fields of the outermost message.
func TestParseCut(t *testing.T) {
	data, err := proto.Marshal(randomRequest(rand.New(rand.NewPCG(3, 4))))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(data); n++ {
		if !parse(data[:n]).Unreadable {
			t.Fatalf("the first %d of %d bytes are readable", n, len(data))
		}
	}
}

// message encodes fields, each a number and the bytes in it.
func message(fields ...any) []byte {
	var out []byte
	for i := 0; i < len(fields); i += 2 {
		out = protowire.AppendTag(out, fields[i].(protowire.Number), protowire.BytesType)
		out = protowire.AppendBytes(out, []byte(fmt.Sprintf("%s", fields[i+1])))
	}
	return out
}

// varint encodes a field that is a number where text belongs.
func varint(n protowire.Number) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), 7)
}

func TestParseWrongTypes(t *testing.T) {
	http := func(http []byte) []byte {
		return message(checkRequestAttributes, message(attributesRequest, message(requestHTTP, http)))
	}
	for name, data := range map[string][]byte{
		"no protobuf":       []byte("GET / HTTP/1.1"),
		"attributes":        varint(checkRequestAttributes),
		"request":           message(checkRequestAttributes, varint(attributesRequest)),
		"extensions":        message(checkRequestAttributes, varint(attributesContextExtensions)),
		"extension's key":   message(checkRequestAttributes, message(attributesContextExtensions, varint(mapKey))),
		"extension's value": message(checkRequestAttributes, message(attributesContextExtensions, varint(mapValue))),
		"source":            message(checkRequestAttributes, varint(attributesSource)),
		"address":           message(checkRequestAttributes, message(attributesSource, varint(peerAddress))),
		"socket":            message(checkRequestAttributes, message(attributesSource, message(peerAddress, varint(addressSocket)))),
		"socket's address":  message(checkRequestAttributes, message(attributesSource, message(peerAddress, message(addressSocket, varint(socketAddress))))),
		"http":              message(checkRequestAttributes, message(attributesRequest, varint(requestHTTP))),
		"method":            http(varint(httpMethod)),
		"path":              http(varint(httpPath)),
		"host":              http(varint(httpHost)),
		"headers":           http(varint(httpHeaders)),
		"header map":        http(varint(httpHeaderMap)),
		"header value":      http(message(httpHeaderMap, varint(headerMapHeaders))),
		"key":               http(message(httpHeaderMap, message(headerMapHeaders, varint(headerValueKey)))),
		"value":             http(message(httpHeaderMap, message(headerMapHeaders, varint(headerValueValue)))),
		"raw value":         http(message(httpHeaderMap, message(headerMapHeaders, varint(headerValueRawValue)))),
		"two values": http(message(httpHeaderMap, message(headerMapHeaders,
			message(headerValueKey, "a", headerValueValue, "b", headerValueRawValue, "b")))),
		"unknown group that does not end": protowire.AppendTag(nil, 99, protowire.StartGroupType),
	} {
		t.Run(name, func(t *testing.T) {
			if !parse(data).Unreadable {
				t.Error("it is readable")
			}
		})
	}
	if c := parse(http(slices.Concat(varint(99), message(httpMethod, "GET"), varint(98)))); c.Unreadable || c.Method != "GET" {
		t.Errorf("unknown fields are not passed over: %+v", c)
	}
}

// TestParseMerges: as in any protobuf message, what comes later adds to a message
// that is there twice, and replaces text. Equal header names both stay.
func TestParseMerges(t *testing.T) {
	half := func(http []byte) []byte {
		return message(checkRequestAttributes, message(attributesRequest, message(requestHTTP, http)))
	}
	data := slices.Concat(
		half(message(httpMethod, "GET", httpPath, "/a", httpHeaders, message(mapKey, "a", mapValue, "1"))),
		half(message(httpMethod, "PUT", httpHeaders, message(mapKey, "a", mapValue, "2"))))
	want := seen{Method: "PUT", Path: "/a", Header: []Field{{"a", "1"}, {"a", "2"}}}
	if diff := gocmp.Diff(want, byHand(parse(data), false)); diff != "" {
		t.Error(diff)
	}
}

// TestFillAndRelease: a request is joined from its parts, and nothing is left of it
// in any buffer.
func TestFillAndRelease(t *testing.T) {
	small := []byte("small")
	pooled := []byte(strings.Repeat("x", 2000))
	pool := &recordingPool{}
	buffer := mem.NewBuffer(&pooled, clearingPool{pool})
	c := &checkRequest{}
	c.fill(mem.BufferSlice{mem.SliceBuffer(small), buffer})
	if got := string(c.message); got != "small"+string(pooled) {
		t.Errorf("filled with %d bytes", len(got))
	}
	buffer.Free()
	whole := c.message
	c.Header = append(c.Header, Field{"a", "b"})
	c.Method, c.Unreadable = "GET", true
	header := c.Header
	c.release()
	for name, b := range map[string][]byte{"the part": small, "the pooled part": pooled, "the message": whole} {
		if i := slices.IndexFunc(b, func(c byte) bool { return c != 0 }); i >= 0 {
			t.Errorf("%s is not cleared at %d", name, i)
		}
	}
	if diff := gocmp.Diff([]Field{{}}, header); diff != "" {
		t.Error(diff)
	}
	if c.Method != "" || c.Unreadable || len(c.Header) != 0 {
		t.Errorf("left: %+v", c.Request)
	}
	if pool.put != 1 {
		t.Errorf("the buffer came back %d times", pool.put)
	}
}

// recordingPool counts the buffers that come back.
type recordingPool struct{ put int }

func (*recordingPool) Get(n int) *[]byte { b := make([]byte, n); return &b }
func (p *recordingPool) Put(*[]byte)     { p.put++ }

// equal reports whether both saw the same.
func (s seen) equal(o seen) bool {
	return s.Method == o.Method && s.Path == o.Path && s.Host == o.Host && s.Policy == o.Policy &&
		s.Unreadable == o.Unreadable && slices.Equal(s.Header, o.Header)
}

// TestParseEmptyPolicyName: a route that was meant to name a policy is not left to
// the request's host.
func TestParseEmptyPolicyName(t *testing.T) {
	for name, tc := range map[string]struct {
		entry any
		want  string
	}{
		"named":           {message(mapKey, policyExtension, mapValue, "a/b"), "a/b"},
		"empty":           {message(mapKey, policyExtension, mapValue, ""), unnamed},
		"without a value": {message(mapKey, policyExtension), unnamed},
		"another":         {message(mapKey, "other", mapValue, "a/b"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parse(message(checkRequestAttributes, message(attributesContextExtensions, tc.entry))).Policy; got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	if p, known := policy.NewTable(nil).ByName(unnamed); p != nil || known {
		t.Error("there is a policy of no name")
	}
}

func FuzzCheckRequest(f *testing.F) {
	header := message(httpMethod, "GET", httpPath, "/v1", httpHost, "a",
		httpHeaders, message(mapKey, "a", mapValue, "b"),
		httpHeaderMap, message(headerMapHeaders, message(headerValueKey, "a", headerValueRawValue, "b")))
	f.Add(message(checkRequestAttributes, message(
		attributesRequest, message(requestHTTP, header),
		attributesContextExtensions, message(mapKey, policyExtension, mapValue, "a/b"))))
	f.Add(message(checkRequestAttributes, message(attributesRequest, message(requestHTTP, message(httpHeaders, message(mapKey, "a"))))))
	f.Add(varint(checkRequestAttributes))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := parse(slices.Clone(data))
		m := &authv3.CheckRequest{}
		if (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, m) != nil {
			return
		}
		want := generated(m)
		if !c.Unreadable && m.GetAttributes().GetRequest().GetHttp().GetHeaderMap() == nil {
			if got := byHand(c, true); !got.equal(want) {
				t.Errorf("as received: %s", gocmp.Diff(want, got))
			}
		}
		// What the generated type writes is always understood.
		again, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got := byHand(parse(again), false)
		if got.Unreadable && want.Unreadable {
			return
		}
		if !got.equal(want) {
			t.Errorf("as written again: %s", gocmp.Diff(want, got))
		}
	})
}
