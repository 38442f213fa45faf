package v1alpha1_test

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/test/apiserver"
)

func TestMain(m *testing.M) { apiserver.Main(m) }

// Objects that are accepted; the tables say what is changed in them.
const (
	goodKey = `
apiVersion: keygate.dev/v1alpha1
kind: APIKey
metadata: {name: ci}
spec:
  policyRef: {name: stepsies, namespace: platform}
  displayName: CI/CD Pipeline
  environment: live
  scopes: [read, "read:all"]
  plan: business
  expiresAt: "2027-01-01T00:00:00Z"
  delivery: {secretName: hubspot-key, ttl: 24h}
  metadata: {team: acme}
`
	registeredKey = `
apiVersion: keygate.dev/v1alpha1
kind: APIKey
metadata: {name: legacy}
spec:
  policyRef: {name: stepsies, namespace: platform}
  displayName: CI/CD Pipeline
  sha256: ` + someSHA256 + `
`
	someSHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	goodPolicy = `
apiVersion: keygate.dev/v1alpha1
kind: APIKeyPolicy
metadata: {name: stepsies}
spec:
  hosts: [api.stepsies.com, "*.stepsies.com"]
  basePath: /v1
  grants:
  - {namespaces: {from: All}, scopes: [read], environments: [live], plans: [sandbox]}
  - {namespaces: {from: Selector, selector: {matchLabels: {a: b}}}}
  credentials:
  - header: {name: Authorization, scheme: Bearer}
  - header: {name: X-API-Key}
  - query: {name: api_key}
  keyFormat: {encoding: Hex, length: 48}
  environments: [{name: live, prefix: sk_live_}, {name: test, prefix: sk_test_}]
  scopes: [{name: read}, {name: write}, {name: admin, includes: [read, write]}]
  rules:
  - {methods: [GET], paths: ["/stepsies", "/stepsies/{id}", "/a%20b/{rest...}"], scopes: [read]}
  - {paths: ["/", "/health/"], anonymous: true}
  - {basePath: /, paths: ["/{rest...}"], anyKey: true}
  - {methods: [POST], paths: ["/x"], anyScope: [write, admin], message: "No."}
  - {methods: [PUT], paths: ["/y"], scopes: [write], plan: business, cost: 10}
  requireTLS: true
  preflight: Allow
  limitFailure: FailOpen
  defaultPlan: sandbox
  plans:
  - {name: sandbox, limits: [{requests: 100, per: 1h}]}
  - {name: business, includes: [sandbox], limits: [{requests: 10, per: 1s}, {requests: 1000, per: 1m}]}
  upstream: {prefix: x-caller-}
  errors:
    contentType: application/json
    docs: https://docs.stepsies.com/auth?a=b#c
    bodies: {"401": {error: {code: unauthorized}}}
    headers: [{name: x-support, value: "mail us"}]
`
)

// client is for one kind, in a namespace of its own.
func client(t *testing.T, resource string) dynamic.ResourceInterface {
	t.Helper()
	server := apiserver.Start(t)
	c, err := dynamic.NewForConfig(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	return c.Resource(v1alpha1.GroupVersion.WithResource(resource)).Namespace(server.Namespace("schema", nil))
}

// object reads YAML.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return u
}

// edit replaces from by to in text, once; from must be there.
func edit(t *testing.T, text, from, to string) string {
	t.Helper()
	if strings.Count(text, from) == 0 {
		t.Fatalf("%q is not in the good object", from)
	}
	return strings.Replace(text, from, to, 1)
}

// change is one edit of a good object, and a part of the error it must earn; an
// empty one: it is accepted.
type change struct{ from, to, refused string }

// check compares err with what a change must earn.
func (c change) check(t *testing.T, err error) {
	t.Helper()
	switch {
	case c.refused == "" && err != nil:
		t.Errorf("refused: %v", err)
	case c.refused != "" && err == nil:
		t.Error("accepted")
	case c.refused != "" && !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err):
		t.Errorf("failed in another way: %v", err)
	case c.refused != "" && !strings.Contains(err.Error(), c.refused):
		t.Errorf("the error does not say %q: %v", c.refused, err)
	}
}

// create tries each change of good on creation.
func create(t *testing.T, resource, good string, changes map[string]change) {
	c := client(t, resource)
	for name, ch := range changes {
		t.Run(name, func(t *testing.T) {
			_, err := c.Create(t.Context(), object(t, edit(t, good, ch.from, ch.to)),
				metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
			ch.check(t, err)
		})
	}
}

// update tries each change of good on an object that is there.
func update(t *testing.T, resource, good string, changes map[string]change) {
	c := client(t, resource)
	there, err := c.Create(t.Context(), object(t, good), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, ch := range changes {
		t.Run(name, func(t *testing.T) {
			next := object(t, edit(t, good, ch.from, ch.to))
			next.SetResourceVersion(there.GetResourceVersion())
			_, err := c.Update(t.Context(), next, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
			ch.check(t, err)
		})
	}
}
