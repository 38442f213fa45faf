package conformance

const (
	stepsiesUnauthorized = `{"error": {"code": "unauthorized", "message": "Missing or invalid API key"}}`
	stepsiesForbidden    = `{"error": {"code": "forbidden", "message": "Insufficient scope for this action"}}`
)

// Stepsies is the page that speaks of /stepsies.
var Stepsies = Product{
	Sample: "stepsies.yaml",
	Host:   "api.stepsies.com",
	Secure: true,
	Keys: []Key{
		{Name: "read", Spec: "scopes: [read]", Format: `^sk_[0-9a-f]{48}$`},
		{Name: "write", Spec: "scopes: [write]\ndisplayName: CI/CD Pipeline"},
		{Name: "admin", Spec: "scopes: [admin]"},
		{Name: "revoked", Spec: "scopes: [admin]", Patch: `{"spec":{"state":"Revoked"}}`},
		{Name: "expired", Spec: "scopes: [admin]", Patch: `{"spec":{"expiresAt":"2001-01-01T00:00:00Z"}}`},
	},
	Cases: []Case{
		{Sentence: "Include your API key in the Authorization header of every request",
			Key: "read", Path: "/v1/stepsies", Status: 200, Upstream: map[string]string{"x-apikey-scopes": "read", "authorization": ""}},
		{Sentence: "read: Read-only access to your stepsies and profile",
			Key: "read", Method: "POST", Path: "/v1/stepsies", Status: 403, Body: stepsiesForbidden},
		{Sentence: "write: Create, update, and delete stepsies",
			Key: "write", Method: "DELETE", Path: "/v1/stepsies/1", Status: 200},
		{Sentence: "write alone does not read",
			Key: "write", Path: "/v1/stepsies", Status: 403, Body: stepsiesForbidden},
		{Sentence: "The admin scope includes all permissions from read",
			Key: "admin", Path: "/v1/stepsies/1", Status: 200},
		{Sentence: "The admin scope includes all permissions from write",
			Key: "admin", Method: "POST", Path: "/v1/stepsies/1/publish", Status: 200},
		{Sentence: "GET /stepsies: read", Key: "read", Path: "/v1/stepsies", Status: 200},
		{Sentence: "GET /stepsies/:id: read", Key: "read", Path: "/v1/stepsies/1", Status: 200},
		{Sentence: "POST /stepsies: write", Key: "write", Method: "POST", Path: "/v1/stepsies", Status: 200},
		{Sentence: "PATCH /stepsies/:id: write", Key: "write", Method: "PATCH", Path: "/v1/stepsies/1", Status: 200},
		{Sentence: "DELETE /stepsies/:id: write", Key: "write", Method: "DELETE", Path: "/v1/stepsies/1", Status: 200},
		{Sentence: "POST /stepsies/:id/publish: write", Key: "write", Method: "POST", Path: "/v1/stepsies/1/publish", Status: 200},
		{Sentence: "POST /stepsies/:id/unpublish: write", Key: "write", Method: "POST", Path: "/v1/stepsies/1/unpublish", Status: 200},
		{Sentence: "what the table does not list", Key: "admin", Method: "PUT", Path: "/v1/stepsies/1", Status: 403, Body: stepsiesForbidden},
		{Sentence: "401: Returned when no API key is provided",
			Path: "/v1/stepsies", Status: 401, Body: stepsiesUnauthorized, Answer: map[string]string{"WWW-Authenticate": "*", "Content-Type": "application/json"}},
		{Sentence: "401: Typo in the API key",
			Header: map[string]string{"Authorization": "Bearer {token}0"}, Token: "read", Path: "/v1/stepsies", Status: 401, Body: stepsiesUnauthorized},
		{Sentence: "401: Using a revoked key", Key: "revoked", Path: "/v1/stepsies", Status: 401, Body: stepsiesUnauthorized},
		{Sentence: "401: Using an expired key", Key: "expired", Path: "/v1/stepsies", Status: 401, Body: stepsiesUnauthorized},
		{Sentence: "403: Returned when your API key doesn't have the required scope",
			Key: "read", Method: "PATCH", Path: "/v1/stepsies/1", Status: 403, Body: stepsiesForbidden},
	},
}
