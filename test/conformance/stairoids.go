package conformance

const (
	stairoidsUnauthorized = `{"error": "unauthorized",
		"message": "Missing or invalid API key. Provide a valid Bearer token in the Authorization header.", "request_id": "req_{requestId}"}`
	stairoidsForbidden = `{"error": "forbidden",
		"message": "This API key does not have write access. Generate a Read-Write key to perform this operation.", "request_id": "req_{requestId}"}`
)

// Stairoids is the long page: Read-Only and Read-Write keys.
var Stairoids = Product{
	Sample: "stairoids.yaml",
	Host:   "api.stairoids.com",
	Secure: true,
	Keys: []Key{
		{Name: "read-only", Spec: "scopes: [read-only]", Format: `^sk_live_[0-9A-Za-z]{32}$`},
		{Name: "read-write", Spec: "scopes: [read-write]\ndisplayName: hubspot-integration-v2"},
		{Name: "revoked", Spec: "scopes: [read-write]\ndisplayName: hubspot-integration", Patch: `{"spec":{"state":"Revoked"}}`},
	},
	Cases: []Case{
		{Sentence: "Pass your API key in the Authorization header of every request using the Bearer scheme",
			Key: "read-only", Path: "/v1/accounts", Header: map[string]string{"Content-Type": "application/json"}, Status: 200,
			Upstream: map[string]string{"authorization": "", "x-apikey-scopes": "read-only", "x-request-id": RequestID}},
		{Sentence: "All endpoints described in this documentation are relative to this base URL",
			Key: "read-write", Path: "/accounts", Status: 403},
		{Sentence: "There are no session cookies",
			Header: map[string]string{"Cookie": "session={token}"}, Token: "read-only", Path: "/v1/accounts", Status: 401, Body: stairoidsUnauthorized},
		{Sentence: "Read-Only: Allows GET requests only: GET", Key: "read-only", Path: "/v1/signals/1", Status: 200},
		{Sentence: "Read-only keys cannot create", Key: "read-only", Method: "POST", Path: "/v1/signals", Status: 403, Body: stairoidsForbidden},
		{Sentence: "Read-only keys cannot update: PUT", Key: "read-only", Method: "PUT", Path: "/v1/accounts/1", Status: 403, Body: stairoidsForbidden},
		{Sentence: "Read-only keys cannot update: PATCH", Key: "read-only", Method: "PATCH", Path: "/v1/contacts/1", Status: 403, Body: stairoidsForbidden},
		{Sentence: "Read-only keys cannot delete", Key: "read-only", Method: "DELETE", Path: "/v1/contacts/1", Status: 403, Body: stairoidsForbidden},
		{Sentence: "Read-Write: Allows all HTTP methods: GET", Key: "read-write", Path: "/v1/accounts", Status: 200},
		{Sentence: "Read-Write: Allows all HTTP methods: POST", Key: "read-write", Method: "POST", Path: "/v1/signals", Status: 200},
		{Sentence: "Read-Write: Allows all HTTP methods: PUT", Key: "read-write", Method: "PUT", Path: "/v1/automations/1", Status: 200},
		{Sentence: "Read-Write: Allows all HTTP methods: PATCH", Key: "read-write", Method: "PATCH", Path: "/v1/contacts/1", Status: 200},
		{Sentence: "Read-Write: Allows all HTTP methods: DELETE", Key: "read-write", Method: "DELETE", Path: "/v1/contacts/1", Status: 200},
		{Sentence: "Make a test API call using the new key and confirm you receive a 200 OK response",
			Key: "read-write", Path: "/v1/accounts", Status: 200},
		{Sentence: "any requests still using the old key will receive a 401 Unauthorized response",
			Key: "revoked", Path: "/v1/accounts", Status: 401, Body: stairoidsUnauthorized},
		{Sentence: "401: the Authorization header is missing",
			Path: "/v1/accounts", Status: 401, Body: stairoidsUnauthorized, Answer: map[string]string{"Content-Type": "application/json"}},
		{Sentence: "401: malformed", Header: map[string]string{"Authorization": "{token}"}, Token: "read-write",
			Path: "/v1/accounts", Status: 401, Body: stairoidsUnauthorized},
		{Sentence: "401: contains an invalid API key", Header: map[string]string{"Authorization": "Bearer {token}x"}, Token: "read-write",
			Path: "/v1/accounts", Status: 401, Body: stairoidsUnauthorized},
		{Sentence: "403: using a Read-only key to create a signal returns this error",
			Key: "read-only", Method: "POST", Path: "/v1/signals", Status: 403, Body: stairoidsForbidden},
		{Sentence: "Every API error response includes a request_id field: a path that cannot be read",
			Key: "read-write", Path: "/v1//accounts", Status: 400, Answer: map[string]string{"X-Request-Id": RequestID},
			Body: `{"error": "malformed_request", "request_id": "req_{requestId}",
				"message": "The request is ambiguous and was not judged: send a plain path, one host and well-formed headers."}`},
	},
}

const (
	simpleUnauthorized = `{"error": {"code": "unauthorized", "message": "Missing or malformed API key"}}`
	simpleForbidden    = `{"error": {"code": "forbidden", "message": "Insufficient scope"}}`
)

// StairoidsSimple is the short page: read, write and read_write.
var StairoidsSimple = Product{
	Sample: "stairoids-simple.yaml",
	Host:   "stairoids.example.com",
	Keys: []Key{
		{Name: "read", Spec: "scopes: [read]"},
		{Name: "write", Spec: "scopes: [write]\ndisplayName: production-signal-ingest"},
		{Name: "read-and-write", Spec: "scopes: [read_write]"},
		{Name: "revoked", Spec: "scopes: [read_write]", Patch: `{"spec":{"state":"Revoked"}}`},
	},
	Cases: []Case{
		{Sentence: "Pass your API key as a Bearer token in the Authorization header. No additional headers are required",
			Key: "read", Path: "/accounts", Status: 200},
		{Sentence: "read: GET only: HEAD", Key: "read", Method: "HEAD", Path: "/accounts", Status: 403},
		{Sentence: "read: GET only: POST", Key: "read", Method: "POST", Path: "/signals", Status: 403, Body: simpleForbidden},
		{Sentence: "read: GET only: PUT", Key: "read", Method: "PUT", Path: "/signals", Status: 403, Body: simpleForbidden},
		{Sentence: "write: POST", Key: "write", Method: "POST", Path: "/signals", Status: 200},
		{Sentence: "write: PATCH", Key: "write", Method: "PATCH", Path: "/webhooks/1", Status: 200},
		{Sentence: "write: DELETE", Key: "write", Method: "DELETE", Path: "/webhooks/1", Status: 200},
		{Sentence: "write: not GET", Key: "write", Path: "/accounts", Status: 403, Body: simpleForbidden},
		{Sentence: "write: not PUT", Key: "write", Method: "PUT", Path: "/webhooks/1", Status: 403, Body: simpleForbidden},
		{Sentence: "read_write: all methods: GET", Key: "read-and-write", Path: "/accounts", Status: 200},
		{Sentence: "read_write: all methods: POST", Key: "read-and-write", Method: "POST", Path: "/signals", Status: 200},
		{Sentence: "read_write: all methods: PUT", Key: "read-and-write", Method: "PUT", Path: "/signals/1", Status: 200},
		{Sentence: "read_write: all methods: HEAD", Key: "read-and-write", Method: "HEAD", Path: "/signals/1", Status: 200},
		{Sentence: "read_write: all methods: OPTIONS", Key: "read-and-write", Method: "OPTIONS", Path: "/signals/1", Status: 200},
		{Sentence: "401: the Authorization header is absent", Path: "/accounts", Status: 401, Body: simpleUnauthorized},
		{Sentence: "401: incorrectly formatted", Header: map[string]string{"Authorization": "Token {token}"}, Token: "read",
			Path: "/accounts", Status: 401, Body: simpleUnauthorized},
		{Sentence: "401: with no extra spaces", Header: map[string]string{"Authorization": "Bearer  {token}"}, Token: "read",
			Path: "/accounts", Status: 401, Body: simpleUnauthorized},
		{Sentence: "401: or encoding issues", Header: map[string]string{"Authorization": "Bearer%20{token}"}, Token: "read",
			Path: "/accounts", Status: 401, Body: simpleUnauthorized},
		{Sentence: "401: the key has been revoked", Key: "revoked", Path: "/accounts", Status: 401, Body: simpleUnauthorized},
		{Sentence: "403: valid and active but does not have the scope required by the endpoint",
			Key: "read", Method: "DELETE", Path: "/webhooks/1", Status: 403, Body: simpleForbidden},
	},
}
