package authz

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecideMalformed(t *testing.T) {
	with := func(fields ...Field) *Request { return request(fields...) }
	target := func(target string) *Request {
		return bare("GET", target, Field{"authorization", "Bearer " + token})
	}
	host := func(host string, fields ...Field) *Request {
		r := bare("GET", "/v1/stepsies", append(fields, Field{"authorization", "Bearer " + token})...)
		r.Host = host
		return r
	}
	method := func(method string) *Request { r := target("/v1/stepsies"); r.Method = method; return r }
	for name, tc := range map[string]struct {
		request *Request
		want    outcome
	}{
		"unreadable":                 {&Request{Unreadable: true, Method: "GET", Path: "/v1/status", Host: "api.stepsies.com"}, malformed(DetailUnreadable)},
		"no method":                  {method(""), malformed(DetailMethod)},
		"CONNECT":                    {method("CONNECT"), malformed(DetailMethod)},
		"connect is only a method":   {method("connect"), noRule},
		"method with a space":        {method("GET "), malformed(DetailMethod)},
		"another :method":            {with(Field{":method", "POST"}), malformed(DetailMethod)},
		"no path":                    {target(""), malformed(DetailPath)},
		"asterisk":                   {target("*"), malformed(DetailPath)},
		"no slash":                   {target("v1/stepsies"), malformed(DetailPath)},
		"absolute form":              {target("http://api.stepsies.com/v1/stepsies"), malformed(DetailPath)},
		"only a query":               {target("?a=b"), malformed(DetailPath)},
		"double slash":               {target("/v1//stepsies"), malformed(DetailPath)},
		"encoded slash":              {target("/v1%2Fstepsies"), malformed(DetailPath)},
		"encoded backslash":          {target("/v1/a%5Cb"), malformed(DetailPath)},
		"encoded letter":             {target("/v1/%73tepsies"), malformed(DetailPath)},
		"dots":                       {target("/v1/stepsies/../stepsies"), malformed(DetailPath)},
		"parameter":                  {target("/v1/stepsies;x=y"), malformed(DetailPath)},
		"backslash":                  {target(`/v1\stepsies`), malformed(DetailPath)},
		"bad escape":                 {target("/v1/%zz"), malformed(DetailPath)},
		"fragment":                   {target("/v1/stepsies#x"), malformed(DetailPath)},
		"fragment behind a query":    {target("/v1/stepsies?a#x"), malformed(DetailPath)},
		"control byte in the query":  {target("/v1/stepsies?a\x01"), malformed(DetailPath)},
		"DEL in the query":           {target("/v1/stepsies?a\x7f"), malformed(DetailPath)},
		"space in the query":         {target("/v1/stepsies?a b"), malformed(DetailPath)},
		"tilde in the query":         {target("/v1/stepsies?!~"), allowed},
		"another :path":              {with(Field{":path", "/v1/stepsies"}), malformed(DetailPath)},
		"two hosts joined":           {host("api.stepsies.com,api.stepsies.com"), malformed(DetailHost)},
		"an :authority of its own":   {host("api.stepsies.com", Field{":authority", "api.tripsies.com"}), malformed(DetailHost)},
		"another :authority":         {with(Field{":authority", "api.tripsies.com"}), malformed(DetailHost)},
		"another host":               {with(Field{"host", "api.tripsies.com"}), malformed(DetailHost)},
		"the same host":              {with(Field{"host", "api.stepsies.com"}), allowed},
		"the same host twice":        {with(Field{"host", "api.stepsies.com"}, Field{"Host", "api.stepsies.com"}), malformed(DetailHost)},
		"the same :authority twice":  {with(Field{":authority", "api.stepsies.com"}), malformed(DetailHost)},
		"another :scheme":            {with(Field{":scheme", "gopher"}), allowed},
		"connection close":           {with(Field{"connection", "close"}), allowed},
		"connection upgrade":         {with(Field{"connection", "keep-alive, Upgrade"}), allowed},
		"empty connection":           {with(Field{"connection", ""}), allowed},
		"names an identity header":   {with(Field{"connection", "x-apikey-id"}), malformed(DetailConnection)},
		"as the last":                {with(Field{"connection", "Upgrade, x-apikey-id"}), malformed(DetailConnection)},
		"with tabs":                  {with(Field{"connection", "Upgrade,\tx-apikey-id\t,x"}), malformed(DetailConnection)},
		"in upper case":              {with(Field{"Connection", "X-APIKEY-ID"}), malformed(DetailConnection)},
		"with underscores":           {with(Field{"connection", "x_apikey_id"}), malformed(DetailConnection)},
		"with dots":                  {with(Field{"connection", "x.apikey.id"}), malformed(DetailConnection)},
		"any name below the prefix":  {with(Field{"connection", "x-apikey-whatever"}), malformed(DetailConnection)},
		"the prefix without the end": {with(Field{"connection", "x-apikey"}), allowed},
		"names the credential":       {with(Field{"connection", "authorization"}), malformed(DetailConnection)},
		"names the other one":        {with(Field{"connection", "X_API_KEY"}), malformed(DetailConnection)},
		"names less than one":        {with(Field{"connection", "authorizatio"}), allowed},
		"names more than one":        {with(Field{"connection", "authorizations"}), allowed},
		"in a second field":          {with(Field{"connection", "close"}, Field{"connection", "x-apikey-id"}), malformed(DetailConnection)},
		"another field's value":      {with(Field{"x-connection", "x-apikey-id"}), allowed},
		"spoofed identity header":    {with(Field{"x-apikey-id", "admin"}), allowed},
		"one with no header's name":  {with(Field{"x-apikey-\xff", "admin"}), malformed(DetailHeader)},
		"elsewhere such a name":      {with(Field{"x-\xff", "admin"}), allowed},
		"forwarded headers": {with(Field{"x-envoy-original-path", "/v1/status"}, Field{"x-forwarded-host", "x.test"},
			Field{"x-original-url", "/v1/status"}, Field{"x-http-method-override", "POST"}), allowed},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, newFixture(t).outcome(tc.request)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMalformedIsJudgedFirst: before the policy, and before an anonymous rule.
func TestMalformedIsJudgedFirst(t *testing.T) {
	for name, tc := range map[string]struct {
		request *Request
		want    outcome
	}{
		"no policy":         {&Request{Method: "GET", Path: "/a//b", Host: "x.test"}, malformed(DetailPath)},
		"unusable policy":   {&Request{Method: "GET", Path: "/a//b", Host: "broken.stepsies.com"}, malformed(DetailPath)},
		"anonymous":         {bare("GET", "/v1/status", Field{"connection", "x-apikey-id"}), malformed(DetailConnection)},
		"two keys":          {bare("GET", "/v1/a//b", Field{"x-api-key", "a"}, Field{"x-api-key", "b"}), malformed(DetailPath)},
		"no policy, bad :x": {&Request{Method: "GET", Path: "/", Host: "x.test", Header: []Field{{":path", "/a"}}}, malformed(DetailPath)},
		// Without a policy there is no prefix to protect.
		"no policy, connection": {&Request{Method: "GET", Path: "/", Host: "x.test", Header: []Field{{"connection", "x-apikey-id"}}}, noPolicy},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, newFixture(t).outcome(tc.request)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	longest := strings.Repeat("a", 128)
	for name, tc := range map[string]struct {
		values []string
		taken  bool
	}{
		"every character":  {[]string{"azAZ09.-_"}, true},
		"one character":    {[]string{"a"}, true},
		"longest":          {[]string{longest}, true},
		"none":             {nil, false},
		"empty":            {[]string{""}, false},
		"too long":         {[]string{longest + "a"}, false},
		"a quote":          {[]string{`a"b`}, false},
		"a slash":          {[]string{"a/b"}, false},
		"before 0":         {[]string{"a,b"}, false},
		"after 9":          {[]string{"a:b"}, false},
		"before A":         {[]string{"a@b"}, false},
		"after Z":          {[]string{"a[b"}, false},
		"before a":         {[]string{"a`b"}, false},
		"after z":          {[]string{"a{b"}, false},
		"a line feed":      {[]string{"a\nb"}, false},
		"not ASCII":        {[]string{"é"}, false},
		"two":              {[]string{"a", "b"}, false},
		"two, one invalid": {[]string{"!", "b"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Request{}
			for _, v := range tc.values {
				r.Header = append(r.Header, Field{"X-Request-Id", v})
			}
			got := r.requestID()
			if taken := len(tc.values) > 0 && got == tc.values[0]; taken != tc.taken {
				t.Errorf("requestID() = %q, want that of the caller: %v", got, tc.taken)
			}
			if !isRequestID(got) {
				t.Errorf("requestID() = %q, which can't be passed on", got)
			}
			if again := r.requestID(); !tc.taken && again == got {
				t.Errorf("the made id %q came twice", got)
			}
		})
	}
}
