package usage

import (
	"fmt"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/test/apiserver"
)

// forged maps each member of an APIKey's status that is not extauthz's → a value that
// somebody might want there.
var forged = map[string]string{
	"observedGeneration": `7`,
	"conditions":         `[{"type":"Ready","status":"True","reason":"Active","message":"","lastTransitionTime":"2026-01-02T03:04:00Z"}]`,
	"hint":               `"sk_live_"`,
	"environment":        `"live"`,
	"scopes":             `["admin"]`,
	"plan":               `"business"`,
	"expiresAt":          `"2099-01-02T03:04:00Z"`,
	"nextRotationAt":     `"2099-01-02T03:04:00Z"`,
	"keys":               `[{"id":"0123456789abcdef","state":"Active"}]`,
}

// TestFence: of an APIKey's status, extauthz adds when its own tokens were used, and
// changes and takes away nothing, whichever members the API has.
func TestFence(t *testing.T) {
	c := newCluster(t, apiserver.Start(t))
	c.fenced()
	who := c.extauthz()
	if _, err := c.key(t.Context(), "key", 1); err != nil {
		t.Fatal(err)
	}
	own, other := fmt.Sprintf("%016x", idOf(1, 0)), fmt.Sprintf("%016x", idOf(2, 0))
	second := fmt.Sprintf("%016x", idOf(1, 1))
	allowed := func(patch string) {
		t.Helper()
		if err := c.patch(who, "key", patch); err != nil {
			t.Errorf("%s: %v", patch, err)
		}
	}
	refused := func(patch string) {
		t.Helper()
		if err := c.patch(who, "key", patch); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", patch, err)
		}
	}
	for _, member := range c.statusMembers() {
		switch value := forged[member]; {
		case member == "lastUsedAt" || member == "usage":
		case value == "":
			t.Errorf("status.%s is new: is it out of extauthz's reach?", member)
		default:
			refused(`{"status":{"` + member + `":` + value + `}}`)
			refused(`{"status":{"lastUsedAt":"2026-01-02T03:04:00Z","usage":{"` + own + `":"2026-01-02T03:04:00Z"},"` + member + `":` + value + `}}`)
		}
	}
	refused(`{"status":{"usage":{"` + other + `":"2026-01-02T03:04:00Z"}}}`)
	refused(`{"status":{"lastUsedAt":"2026-01-02T03:04:00Z"}}`)
	refused(`{"status":{"lastUsedAt":"2026-01-02T03:05:00Z","usage":{"` + own + `":"2026-01-02T03:04:00Z"}}}`)
	refused(`{"status":{"keys":null}}`)
	refused(`{"status":null}`)
	allowed(`{"status":{"lastUsedAt":"2026-01-02T03:04:00Z","usage":{"` + own + `":"2026-01-02T03:04:00Z"}}}`)
	allowed(`{"status":{"usage":{"` + second + `":"2026-01-02T03:03:00Z"}}}`)
	refused(`{"status":{"lastUsedAt":null}}`)
	refused(`{"status":{"usage":null}}`)
	refused(`{"status":{"usage":{"` + own + `":null}}}`)
	allowed(`{"metadata":{"labels":{"a":"b"}},"spec":{"state":"Revoked"},"status":{"lastUsedAt":"2026-01-02T03:06:00Z","usage":{"` + second + `":"2026-01-02T03:06:00Z"}}}`)
	key := c.get("key")
	if key.Spec.State != v1alpha1.StateActive || len(key.Labels) != 0 || key.Status.Hint != "sk_" || len(key.Status.Keys) != 3 {
		t.Errorf("it is now %+v", key)
	}
	if at := key.Status.LastUsedAt; !at.Time.Equal(time.Date(2026, 1, 2, 3, 6, 0, 0, time.UTC)) || len(key.Status.Usage) != 2 {
		t.Errorf("last used at %s, %v", at, key.Status.Usage)
	}
}

// statusMembers are those of an APIKey's status, by its CRD.
func (c *cluster) statusMembers() (names []string) {
	c.Helper()
	if err := apiextensionsv1.AddToScheme(c.admin.Scheme()); err != nil {
		c.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := c.admin.Get(c.Context(), client.ObjectKey{Name: "apikeys.keygate.dev"}, crd); err != nil {
		c.Fatal(err)
	}
	for name := range crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"].Properties {
		names = append(names, name)
	}
	if len(names) < 8 {
		c.Fatalf("the CRD has only %v", names)
	}
	return names
}
