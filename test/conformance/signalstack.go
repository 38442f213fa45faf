package conformance

const (
	signalstackUnauthorized = `{"error": {"code": "UNAUTHORIZED",
		"message": "Invalid or missing API key. Provide a valid key via the Authorization header.",
		"docs": "https://signal-stack-ten.vercel.app/docs/guides/authentication"}}`
	signalstackForbidden = `{"error": {"code": "FORBIDDEN",
		"message": "This API key does not have access to the media verification endpoint.", "required_plan": "business"}}`
)

// SignalStack is the page with live and test keys.
var SignalStack = Product{
	Sample: "signalstack.yaml",
	Host:   "signal-stack-ten.vercel.app",
	Secure: true,
	Keys: []Key{
		{Name: "live", Spec: "environment: live", Format: `^ssk_live_[0-9a-f]{6}_[0-9a-f]{48}$`},
		{Name: "business", Spec: "environment: live\nplan: business"},
		{Name: "test", Spec: "environment: test", Format: `^ssk_test_[0-9a-f]{6}_[0-9a-f]{48}$`},
		{Name: "revoked", Spec: "environment: live", Patch: `{"spec":{"state":"Revoked"}}`},
	},
	Cases: []Case{
		{Sentence: "Each request must include a valid API key in the Authorization header as a Bearer token",
			Key: "live", Method: "POST", Path: "/v1/verify/claim", Header: map[string]string{"Content-Type": "application/json"}, Status: 200,
			Upstream: map[string]string{"x-apikey-environment": "live", "authorization": ""}},
		{Sentence: "Production, ssk_live_, Plan-dependent: developer", Key: "live", Method: "POST", Path: "/v1/verify/claim", Status: 200,
			Answer: map[string]string{"RateLimit-Policy": "*", "RateLimit": "*"}},
		{Sentence: "Test / Sandbox, ssk_test_, Simulated: the API is told", Key: "test", Method: "POST", Path: "/v1/verify/claim", Status: 200,
			Upstream: map[string]string{"x-apikey-environment": "test"}, Answer: map[string]string{"RateLimit-Policy": "*"}},
		{Sentence: "401: missing API key", Method: "POST", Path: "/v1/verify/claim", Status: 401, Body: signalstackUnauthorized,
			Answer: map[string]string{"Content-Type": "application/json"}},
		{Sentence: "401: invalid API key", Header: map[string]string{"Authorization": "Bearer ssk_live_abc123_def456"},
			Method: "POST", Path: "/v1/verify/claim", Status: 401, Body: signalstackUnauthorized},
		{Sentence: "Revoke: Any service using that key will receive 401 Unauthorized",
			Key: "revoked", Method: "POST", Path: "/v1/verify/claim", Status: 401, Body: signalstackUnauthorized},
		{Sentence: "403: Key lacks permissions for this endpoint", Key: "live", Method: "POST", Path: "/v1/verify/media", Status: 403, Body: signalstackForbidden},
		{Sentence: "403: a test key's plan is fixed", Key: "test", Method: "POST", Path: "/v1/verify/media", Status: 403, Body: signalstackForbidden},
		{Sentence: "the required plan has access", Key: "business", Method: "POST", Path: "/v1/verify/media", Status: 200},
	},
}
