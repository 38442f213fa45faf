package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// madeElsewhere makes a key as "openssl rand -hex 24" does, and the spec by which it is
// registered for the policy plain.
func madeElsewhere() (token, spec string) {
	random := make([]byte, 24)
	rand.Read(random)
	token = "legacy_" + hex.EncodeToString(random)
	sum := sha256.Sum256([]byte(token))
	return token, "policyRef: {name: plain}\nscopes: [read]\nsha256: " + hex.EncodeToString(sum[:])
}

// register applies an APIKey for a key that was made elsewhere, and waits until it is
// ready and known to every extauthz.
func (s *stack) register(tb testing.TB, namespace, name, spec string) {
	tb.Helper()
	s.apply(tb, namespace, name, spec)
	s.wait(tb, s.keys(namespace), name, "Ready", "True", "Active")
	s.wait(tb, s.keys(namespace), name, "Delivered", "True", "Registered")
	s.settle(tb)
}

// TestRegisteredKey brings a key along: its plaintext never enters the cluster, and
// two APIKeys make an overlap when it is replaced.
func TestRegisteredKey(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	old, oldSpec := madeElsewhere()
	request := func(token string) call { return call{host: host, path: "/things/1", token: token} }
	if a := s.do(t, request(old)); a.status != http.StatusUnauthorized {
		t.Errorf("before it is registered: %s", a)
	}
	s.register(t, ns, "old", oldSpec)
	e := s.do(t, request(old)).echo(t)
	if got := e.first("x-apikey-name"); got != "old" {
		t.Errorf("the upstream is told of the key %q", got)
	}
	if a := s.do(t, call{method: http.MethodPost, host: host, path: "/things/1", token: old}); a.status != http.StatusForbidden {
		t.Errorf("without the scope: %s", a)
	}
	if _, err := s.kube.CoreV1().Secrets(ns).Get(t.Context(), "old", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("something was delivered: %v", err)
	}

	replacement, newSpec := madeElsewhere()
	s.register(t, ns, "new", newSpec)
	for _, token := range []string{old, replacement} {
		s.do(t, request(token)).echo(t)
	}
	s.patch(t, ns, "old", `{"spec":{"state":"Revoked"}}`)
	s.becomes(t, request(old), http.StatusUnauthorized)
	s.do(t, request(replacement)).echo(t)
	s.patch(t, ns, "new", `{"spec":{"state":"Suspended"}}`)
	s.becomes(t, request(replacement), http.StatusUnauthorized)
	s.patch(t, ns, "new", `{"spec":{"state":"Active"}}`)
	s.becomes(t, request(replacement), http.StatusOK)
}

// TestTenantRegistersAForeignKey: who knows the SHA-256 of somebody else's key gets
// nothing by it, and takes nothing away, until the other one deletes the key.
func TestTenantRegistersAForeignKey(t *testing.T) {
	s, host := shared, newHost()
	ns, thief := s.namespace(t, nil), s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host)+"\ngrants: [{namespaces: {from: All}}]")
	token := s.key(t, ns, "mine", "policyRef: {name: plain}\nscopes: [read]")
	sum := sha256.Sum256([]byte(token))
	spec := "policyRef: {name: plain, namespace: " + ns + "}\nscopes: [admin]\nsha256: " + hex.EncodeToString(sum[:])
	c := call{host: host, path: "/things/1", token: token}
	s.apply(t, thief, "theirs", spec)
	s.wait(t, s.keys(thief), "theirs", "Ready", "False", "DuplicateKey")
	u, err := s.keys(thief).Get(t.Context(), "theirs", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, condition := range conditions(u) {
		if strings.Contains(condition.Message, ns) || strings.Contains(condition.Message, "mine") {
			t.Errorf("%s tells whose it is: %s", condition.Type, condition.Message)
		}
	}
	s.settle(t)
	if got := s.do(t, c).echo(t).first("x-apikey-namespace"); got != ns {
		t.Errorf("the key is %s's", got)
	}
	if err := s.keys(thief).Delete(t.Context(), "theirs", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.settle(t)
	s.do(t, c).echo(t)
}
