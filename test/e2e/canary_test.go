package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestNoPlaintext sends a key through its whole life and then looks for it in
// every file that any component wrote (logs, etcd's files), in every object of the
// API, and in every metric. It may be found in its delivery Secret only.
func TestNoPlaintext(t *testing.T) {
	s := start(t, "EXTAUTHZ_FLAGS=--log-decisions=all")
	host := newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host)+`
credentials: [{header: {name: Authorization, scheme: Bearer}}, {header: {name: X-API-Key}}, {query: {name: api_key}}]`)
	kept := s.key(t, ns, "kept", "policyRef: {name: plain}\nscopes: [read]\ndelivery: {retain: Keep, envVar: API_KEY}")
	canaries := []string{kept, s.key(t, ns, "once", "policyRef: {name: plain}\nscopes: [read]")}
	for _, token := range canaries {
		s.do(t, call{host: host, path: "/things/1", token: token}).echo(t)
		s.do(t, call{host: host, path: "/things/1?a&api_key=" + token + "&b"}).echo(t)
		for _, c := range []call{
			{method: "POST", host: host, path: "/things/1", token: token},
			{host: host, path: "/things//1", token: token},
			{host: "nobody.e2e.test", path: "/", token: token},
			{host: host, path: "/open/1", token: token},
			{host: host, path: "/open/1?api_key=" + token},
			{host: host, path: "/things/1?api%5Fkey=" + token},
			{host: host, path: "/things/1?api_key=" + token, token: token},
			{method: "POST", host: host, path: "/things/1?api_key=" + token},
			{host: host, path: "/things/1", header: map[string][]string{"Authorization": {"Basic " + token}}},
			{host: host, path: "/things/1", header: map[string][]string{"Authorization": {"Bearer " + token + " x"}}},
			{host: host, path: "/things/1", token: token, header: map[string][]string{"X-Api-Key": {token}}},
		} {
			if a := s.do(t, c); bytes.Contains(a.body, []byte(token)) {
				t.Errorf("the answer to %s %s holds the token", c.method, c.path)
			}
		}
	}
	canaries = append(canaries, s.rotates(t, ns, "kept", 2, ""))
	s.patch(t, ns, "once", `{"spec":{"delivery":{"ttl":"1s"}}}`)
	s.wait(t, s.keys(ns), "once", "Delivered", "True", "HandedOver")
	s.patch(t, ns, "once", `{"spec":{"state":"Revoked"}}`)
	s.becomes(t, call{host: host, path: "/any", token: canaries[1]}, http.StatusUnauthorized)

	for _, token := range canaries {
		secret := token[len("pk_"):]
		for form, needle := range map[string]string{
			"plain": secret, "base64": encoded(token), "header line": encoded("Authorization: Bearer " + token), ".env line": encoded("API_KEY=" + token),
		} {
			searchFiles(t, s.dir, form, needle)
			searchObjects(t, s, ns+"/kept", form, needle)
			for _, url := range []string{s.vars["METRICS"], s.vars["CONTROLLER_METRICS"]} {
				if strings.Contains(get(t, url+"/metrics"), needle) {
					t.Errorf("%s in the metrics of %s", form, url)
				}
			}
		}
	}
}

// encoded is what base64 makes of a text, whatever follows it.
func encoded(text string) string {
	return strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(text[:len(text)/3*3])), "=")
}

// searchFiles looks for needle in every file below dir.
func searchFiles(t *testing.T, dir, form, needle string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil // a log was rotated
		}
		files++
		if bytes.Contains(data, []byte(needle)) {
			t.Errorf("%s token in %s", form, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 10 {
		t.Errorf("only %d files below %s: is this where the components write?", files, dir)
	}
}

// searchObjects looks for needle in all objects that could hold it, but for the
// delivery Secret named except.
func searchObjects(t *testing.T, s *stack, except, form, needle string) {
	t.Helper()
	seen := 0
	for _, gvr := range []schema.GroupVersionResource{
		{Version: "v1", Resource: "secrets"}, {Version: "v1", Resource: "events"}, {Version: "v1", Resource: "configmaps"},
		{Group: "events.k8s.io", Version: "v1", Resource: "events"},
		{Group: "keygate.dev", Version: "v1alpha1", Resource: "apikeys"},
		{Group: "keygate.dev", Version: "v1alpha1", Resource: "apikeypolicies"},
		{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
	} {
		list, err := s.dynamic.Resource(gvr).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range list.Items {
			seen++
			data, err := json.Marshal(u.Object)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(data, []byte(needle)) && u.GetNamespace()+"/"+u.GetName() != except {
				t.Errorf("%s token in %s %s/%s", form, u.GetKind(), u.GetNamespace(), u.GetName())
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d objects were searched", seen)
	}
}
