package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// These tests are a tenant with every right in a namespace of its own, or anybody
// who may write the status of APIKeys.

// TestTenantClaimsAForeignHost: a policy of one's own for somebody else's host
// decides nothing, neither before nor after the owner's.
func TestTenantClaimsAForeignHost(t *testing.T) {
	s := start(t, "CONTROLLER_FLAGS=--policy-namespaces=platform")
	host := "api.stepsies.com"
	tenant := s.namespace(t, nil)
	open := "hosts: [" + host + ", \"*.e2e.test\"]\nenvironments: [{name: live, prefix: pk_}]\nrules: [{paths: [\"/{rest...}\"], anonymous: true}]"
	s.policy(t, tenant, "mine", open)
	s.wait(t, s.policies(tenant), "mine", "HostsClaimed", "False", "NamespaceNotAllowed")
	if a := s.do(t, call{host: host, path: "/v1/stepsies"}); a.status != http.StatusForbidden || a.reason(t) != "no_policy" {
		t.Errorf("before the owner's policy: %s", a)
	}
	s.sample(t, "stepsies.yaml")
	s.becomes(t, call{host: host, path: "/v1/stepsies"}, http.StatusUnauthorized)
	s.patchPolicy(t, tenant, "mine", `{"spec":{"hosts":["`+host+`"]}}`)
	s.wait(t, s.policies(tenant), "mine", "Accepted", "True", "")
	if a := s.do(t, call{host: host, path: "/v1/stepsies"}); a.status != http.StatusUnauthorized {
		t.Errorf("after it: %s", a)
	}
}

// TestHostConflict: of two that may claim hosts the older wins, and the other says
// so; when the older is gone, the other takes over.
func TestHostConflict(t *testing.T) {
	s, host := shared, newHost()
	first, second := s.namespace(t, nil), s.namespace(t, nil)
	s.policy(t, first, "older", plainPolicy(host))
	open := "hosts: [" + host + "]\nenvironments: [{name: live, prefix: pk_}]\nrules: [{paths: [\"/{rest...}\"], anonymous: true}]"
	eventually(t, func() string { // creation times are counted in seconds
		s.policy(t, second, "younger", open)
		older, err := s.policies(first).Get(context.Background(), "older", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		younger, err := s.policies(second).Get(context.Background(), "younger", metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		if older.GetCreationTimestamp().Time.Before(younger.GetCreationTimestamp().Time) {
			return ""
		}
		if err := s.policies(second).Delete(context.Background(), "younger", metav1.DeleteOptions{}); err != nil {
			return err.Error()
		}
		return "made within the same second"
	})
	s.wait(t, s.policies(second), "younger", "HostsClaimed", "False", "HostConflict")
	if a := s.do(t, call{host: host, path: "/any"}); a.status != http.StatusUnauthorized {
		t.Errorf("the younger policy decides: %s", a)
	}
	if err := s.policies(first).Delete(t.Context(), "older", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.becomes(t, call{host: host, path: "/any"}, http.StatusOK)
	s.wait(t, s.policies(second), "younger", "HostsClaimed", "True", "Claimed")
}

// TestTenantAsksForMoreThanIsGranted: nothing is minted until all that is asked
// for is granted, and a policy that grants nothing reads like none at all.
func TestTenantAsksForMoreThanIsGranted(t *testing.T) {
	s := shared
	s.sample(t, "stepsies.yaml")
	granted := s.namespace(t, map[string]string{"stepsies.com/api": "true"})
	stranger := s.namespace(t, nil)
	s.apply(t, granted, "admin", stepsiesKey("read, admin"))
	s.wait(t, s.keys(granted), "admin", "Ready", "False", "ScopesNotGranted")
	if _, err := s.kube.CoreV1().Secrets(granted).Get(t.Context(), "admin", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("something was delivered: %v", err)
	}
	s.apply(t, stranger, "key", stepsiesKey("read"))
	s.wait(t, s.keys(stranger), "key", "Ready", "False", "PolicyNotFound")
	s.apply(t, stranger, "nothing", "policyRef: {name: no-such-policy, namespace: platform}")
	s.wait(t, s.keys(stranger), "nothing", "Ready", "False", "PolicyNotFound")
	message := func(name string) string {
		u, err := s.keys(stranger).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range conditions(u) {
			if c.Type == "Ready" {
				return strings.ReplaceAll(strings.ReplaceAll(c.Message, "no-such-policy", "NAME"), "stepsies", "NAME")
			}
		}
		return ""
	}
	if diff := cmp.Diff(message("nothing"), message("key")); diff != "" {
		t.Errorf("not granted and not found can be told apart:\n%s", diff)
	}

	token := s.key(t, granted, "reader", stepsiesKey("read"))
	c := call{host: stepsiesHost, path: "/v1/stepsies", token: token}
	s.do(t, c).echo(t)
	if err := s.label(granted, `{"stepsies.com/api":null}`); err != nil {
		t.Fatal(err)
	}
	s.becomes(t, c, http.StatusUnauthorized)
	if err := s.label(granted, `{"stepsies.com/api":"true"}`); err != nil {
		t.Fatal(err)
	}
	s.becomes(t, c, http.StatusOK)
}

// TestTenantPremakesTheDeliverySecret: whatever Secret is there under the name,
// the controller neither writes it nor issues a key.
func TestTenantPremakesTheDeliverySecret(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	other := s.key(t, ns, "other", "policyRef: {name: plain}")
	for name, secret := range map[string]*corev1.Secret{
		"opaque":         {Type: corev1.SecretTypeOpaque},
		"basic-auth":     {Type: corev1.SecretTypeBasicAuth, StringData: map[string]string{"username": "u"}},
		"token-unowned":  {Type: "keygate.dev/token"},
		"token-frozen":   {Type: "keygate.dev/token", Immutable: ptr.To(true)},
		"hashed-key":     {Type: "keygate.dev/hashed-key"},
		"owned-by-other": nil,
	} {
		t.Run(name, func(t *testing.T) {
			secretName := "other"
			if secret != nil {
				secretName = name
				secret.Name = name
				if _, err := s.kube.CoreV1().Secrets(ns).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			before, err := s.kube.CoreV1().Secrets(ns).Get(t.Context(), secretName, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			s.apply(t, ns, "key-"+name, "policyRef: {name: plain}\ndelivery: {secretName: "+secretName+"}")
			s.wait(t, s.keys(ns), "key-"+name, "Ready", "False", "DeliveryConflict")
			after, err := s.kube.CoreV1().Secrets(ns).Get(t.Context(), secretName, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("the Secret was written:\n%s", diff)
			}
		})
	}
	s.do(t, call{host: host, path: "/any", token: other}).echo(t)
	t.Run("and works once the name is free", func(t *testing.T) {
		if err := s.kube.CoreV1().Secrets(ns).Delete(t.Context(), "opaque", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		s.wait(t, s.keys(ns), "key-opaque", "Ready", "True", "Active")
		s.becomes(t, call{host: host, path: "/any", token: s.token(t, ns, "opaque")}, http.StatusOK)
	})
}

// TestStatusDecidesNothing forges and erases the status of keys that are not
// ready, and of one that is: nothing is minted, nobody is let in or out.
func TestStatusDecidesNothing(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	token := s.key(t, ns, "good", "policyRef: {name: plain}\nscopes: [read]")
	s.apply(t, ns, "bad", "policyRef: {name: nothing}\nscopes: [admin]")
	s.wait(t, s.keys(ns), "bad", "Ready", "False", "PolicyNotFound")
	secrets := func() int {
		list, err := s.kube.CoreV1().Secrets(keysNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "keygate.dev/owner-uid"})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, secret := range list.Items {
			if strings.Contains(string(secret.Data["record"]), fmt.Sprintf("%q", ns)) {
				n++
			}
		}
		return n
	}
	before := secrets()
	for name, status := range map[string]string{
		"erased": `{"status":null}`,
		"forged": `{"status":{"hint":"pk_zzzz…","scopes":["admin"],"environment":"prod","keys":null,"conditions":[
			{"type":"Ready","status":"True","reason":"Active","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"},
			{"type":"Delivered","status":"False","reason":"Pending","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, key := range []string{"good", "bad"} {
				if _, err := s.keys(ns).Patch(t.Context(), key, types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
					t.Fatal(err)
				}
			}
			s.wait(t, s.keys(ns), "good", "Delivered", "True", "")
			s.wait(t, s.keys(ns), "good", "Ready", "True", "Active")
			s.wait(t, s.keys(ns), "bad", "Ready", "False", "PolicyNotFound")
			s.do(t, call{host: host, path: "/things/1", token: token}).echo(t)
			if a := s.do(t, call{method: http.MethodPost, host: host, path: "/things/1", token: token}); a.status != http.StatusForbidden {
				t.Errorf("forged scopes: %s", a)
			}
			if got := s.token(t, ns, "good"); got != token {
				t.Error("another token was delivered")
			}
			if after := secrets(); after != before {
				t.Errorf("%d records, were %d", after, before)
			}
		})
	}
}

// patchPolicy merges JSON into an APIKeyPolicy.
func (s *stack) patchPolicy(tb testing.TB, namespace, name, json string) {
	tb.Helper()
	if _, err := s.policies(namespace).Patch(context.Background(), name, types.MergePatchType, []byte(json), metav1.PatchOptions{}); err != nil {
		tb.Fatal(err)
	}
}

// label merges labels into a namespace's.
func (s *stack) label(namespace, labels string) error {
	_, err := s.kube.CoreV1().Namespaces().Patch(context.Background(), namespace, types.MergePatchType,
		[]byte(`{"metadata":{"labels":`+labels+`}}`), metav1.PatchOptions{})
	return err
}
