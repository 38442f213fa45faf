package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"keygate.dev/keygate/hack/testbin"
)

// These are the pages' own examples, but for the address: $URL is where the
// gateway listens, $API_HOST the product's host (which fetch does not let its
// caller choose). Each prints the status, a blank and the body.
const (
	pythonExample = `
import os, sys
import requests

headers = {
    "Authorization": "Bearer " + os.environ["API_KEY"],
    "Content-Type": "application/json",
    "Host": os.environ["API_HOST"],
}

response = requests.request(sys.argv[1], os.environ["URL"] + sys.argv[2], headers=headers, verify=os.environ["CA"])
print(response.status_code, response.text)
`
	nodeExample = `
const response = await fetch(process.env.URL + process.argv[2], {
  method: process.argv[1],
  headers: {
    Authorization: "Bearer " + process.env.API_KEY,
    "Content-Type": "application/json",
  },
});
console.log(response.status, await response.text());
`
	curlExample = `body=$(curl -sS --cacert "$CA" -w '\n%{http_code}' -X "$0" "$URL$1" \
  -H "Authorization: Bearer $API_KEY" -H "Content-Type: application/json" -H "Host: $API_HOST")
printf '%s\n' "$body" | tail -n 1 | tr '\n' ' '; printf '%s\n' "$body" | sed '$d'`
)

// TestClients calls as the pages do, with Python's requests, Node's fetch and curl.
// (Go's client is the one of all other tests, gRPC's that of TestGRPC.)
func TestClients(t *testing.T) {
	clients, err := testbin.GetClients(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := shared
	s.sample(t, "stairoids.yaml")
	s.patchPolicy(t, "platform", "stairoids", `{"spec":{"hosts":["api.stairoids.com","127.0.0.1"]}}`)
	s.wait(t, s.policies("platform"), "stairoids", "HostsClaimed", "True", "")
	token := s.key(t, "platform", "clients", "policyRef: {name: stairoids}\nscopes: [read-only]")
	const host = "api.stairoids.com"
	for name, command := range map[string][]string{
		"Python requests": {clients.Python, "-c", pythonExample},
		"Node fetch":      {clients.Node, "--input-type=module", "-e", nodeExample},
		"curl":            {"sh", "-c", curlExample},
	} {
		for what, tc := range map[string]struct {
			key, method, path string
			status            int
			message           string
		}{
			"a good key":          {token, "GET", "/v1/accounts", http.StatusOK, ""},
			"a bad key":           {"sk_live_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "GET", "/v1/accounts", http.StatusUnauthorized, "Missing or invalid API key. Provide a valid Bearer token in the Authorization header."},
			"a key without scope": {token, "POST", "/v1/signals", http.StatusForbidden, "This API key does not have write access. Generate a Read-Write key to perform this operation."},
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), command[0], append(command[1:len(command):len(command)], tc.method, tc.path)...)
				cmd.Env = append(os.Environ(), "URL="+s.vars["GATEWAY_TLS"], "API_HOST="+host, "API_KEY="+tc.key,
					"CA="+s.vars["GATEWAY_CA"], "NODE_EXTRA_CA_CERTS="+s.vars["GATEWAY_CA"], "PYTHONPATH="+clients.PythonPath)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				status, body, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
				if status != strconv.Itoa(tc.status) {
					t.Fatalf("got %s", out)
				}
				var got struct{ Message, Path string }
				if err := json.Unmarshal([]byte(body), &got); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if got.Message != tc.message {
					t.Errorf("message %q, want %q", got.Message, tc.message)
				}
				if tc.status == http.StatusOK && got.Path != tc.path {
					t.Errorf("the upstream got %q", got.Path)
				}
			})
		}
	}
}
