// Package conformance holds what the pages of four products promise, one table a
// product: each case stands beside the sentence that it comes from, and [Run] sends
// them through any way in. test/e2e runs all of them through a real Envoy,
// test/gateways and test/kind one of them through every way in that is documented.
// docs/conformance.md says which sentences have no case, and why.
package conformance

// Product is one product's page.
type Product struct {
	// Sample is the file of config/samples with the product's policy.
	Sample string
	// Host of its API.
	Host string
	// Secure: the page's URLs are https only, and so are the cases, unless they say
	// otherwise.
	Secure bool
	// Keys that the cases use.
	Keys []Key
	// Cases in the order of the page. They run one after another.
	Cases []Case
}

// Key is an APIKey of the policy's own namespace.
type Key struct {
	// Name in the cases.
	Name string
	// Spec is YAML, less policyRef.
	Spec string
	// Patch is merged into the APIKey once its token was collected.
	Patch string
	// Format is a regular expression that the token matches; "": any.
	Format string
}

// Case is one request and what must come of it.
type Case struct {
	// Sentence of the page, in its own words.
	Sentence string
	// Key that is sent as "Authorization: Bearer"; "": none.
	Key string
	// Method, GET if empty.
	Method string
	// Path with its query. {token} stands for the key named by Token.
	Path string
	// Header fields to send besides; {token} as above.
	Header map[string]string
	// Token is the key that {token} stands for.
	Token string
	// Plain sends the request over plain HTTP, though the product is Secure.
	Plain bool

	// Status of the answer.
	Status int
	// Body of the answer, as JSON; "": any. {requestId} is the id that was sent.
	Body string
	// Answer has header fields of the answer; "*" is any value, "" none.
	Answer map[string]string
	// Upstream has header fields that reach the upstream; "" none.
	Upstream map[string]string
}

// RequestID is the x-request-id of every case.
const RequestID = "01HXYZ1234ABCDEF"
