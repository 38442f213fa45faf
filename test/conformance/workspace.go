package conformance

// Workspace is the page of the unnamed workspace API.
var Workspace = Product{
	Sample: "workspace.yaml",
	Host:   "workspace.example.com",
	Secure: true,
	Keys: []Key{
		{Name: "read", Spec: `scopes: ["read:all"]`},
		{Name: "write", Spec: `scopes: ["write:all"]`},
		{Name: "admin", Spec: "scopes: [admin]\nplan: scale"},
		{Name: "revoked", Spec: `scopes: ["read:all"]`, Patch: `{"spec":{"state":"Revoked"}}`},
	},
	Cases: []Case{
		{Sentence: "Pass your API key in the Authorization header using the Bearer scheme on every request",
			Key: "read", Path: "/v1/users", Status: 200, Upstream: map[string]string{"authorization": "", "x-apikey-scopes": "read:all"}},
		{Sentence: "plain HTTP requests are rejected", Key: "admin", Path: "/v1/users", Plain: true, Status: 403},
		{Sentence: "plain HTTP requests are rejected, whatever a client claims", Key: "admin", Path: "/v1/users", Plain: true,
			Header: map[string]string{"X-Forwarded-Proto": "https"}, Status: 403},
		{Sentence: "read:all: Read access to all resources: projects", Key: "read", Path: "/v1/projects/1", Status: 200},
		{Sentence: "read:all: Read access to all resources: records", Key: "read", Path: "/v1/records", Status: 200},
		{Sentence: "read:all: Read access to all resources: settings", Key: "read", Path: "/v1/settings", Status: 200},
		{Sentence: "read:all does not write", Key: "read", Method: "POST", Path: "/v1/projects", Status: 403},
		{Sentence: "write:all: Create", Key: "write", Method: "POST", Path: "/v1/projects", Status: 200},
		{Sentence: "write:all: update", Key: "write", Method: "PATCH", Path: "/v1/projects/1", Status: 200},
		{Sentence: "write:all: all non-administrative resources", Key: "write", Method: "POST", Path: "/v1/team/members", Status: 403},
		{Sentence: "admin: team management", Key: "admin", Method: "POST", Path: "/v1/team/members", Status: 200},
		{Sentence: "admin: billing", Key: "admin", Path: "/v1/billing", Status: 200},
		{Sentence: "admin: API key administration", Key: "admin", Method: "DELETE", Path: "/v1/keys/1", Status: 200},
		{Sentence: "admin encompasses all read:all permissions", Key: "admin", Path: "/v1/users", Status: 200},
		{Sentence: "admin encompasses all write:all permissions", Key: "admin", Method: "POST", Path: "/v1/projects", Status: 200},
		{Sentence: "401 Unauthorized: missing", Path: "/v1/users", Status: 401, Answer: map[string]string{"WWW-Authenticate": "*"}},
		{Sentence: "401 Unauthorized: copied with no whitespace", Header: map[string]string{"Authorization": "Bearer {token} "}, Token: "read", Path: "/v1/users", Status: 401},
		{Sentence: "401 Unauthorized: malformed, with whitespace inside", Header: map[string]string{"Authorization": "Bearer  {token}"}, Token: "read", Path: "/v1/users", Status: 401},
		{Sentence: "401 Unauthorized: revoked", Key: "revoked", Path: "/v1/users", Status: 401},
		{Sentence: "403 Forbidden: lacks the scope required for this endpoint", Key: "read", Method: "PATCH", Path: "/v1/users/1", Status: 403,
			Answer: map[string]string{"WWW-Authenticate": `Bearer realm="workspace", error="insufficient_scope", scope="write:all"`}},
	},
}
