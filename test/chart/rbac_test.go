package chart

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// id tells objects apart.
func id(object *unstructured.Unstructured) string {
	return object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
}

// TestConfigIsRendered: every role, binding, account and admission policy of
// config/rbac is in the chart, and says the same, whatever the namespaces are called.
func TestConfigIsRendered(t *testing.T) {
	for _, names := range [][2]string{{systemNamespace, keysNamespace}, {"gateway", "api-keys"}, {"7", "8"}} {
		t.Run(names[0], func(t *testing.T) {
			rendered := map[string]*unstructured.Unstructured{}
			for _, object := range Render(t, "--namespace="+names[0], "--set-string=keysNamespace.name="+names[1]) {
				rendered[id(object)] = object
			}
			for _, want := range Configured(t, names[0], names[1]) {
				got := rendered[id(want)]
				if want.GetKind() == "Namespace" && want.GetName() == names[0] {
					continue // Helm's own
				}
				if got == nil {
					t.Errorf("the chart lacks %s", id(want))
					continue
				}
				for _, object := range []*unstructured.Unstructured{got, want} {
					object.SetLabels(nil)
					object.SetAnnotations(nil)
				}
				if diff := cmp.Diff(want.Object, got.Object); diff != "" {
					t.Errorf("%s differs:\n%s", id(want), diff)
				}
			}
			text, err := json.Marshal(rendered)
			if err != nil {
				t.Fatal(err)
			}
			if names[0] != systemNamespace && regexp.MustCompile(`keygate-(system|keys)\b`).Match(text) {
				t.Error("a namespace is named literally")
			}
		})
	}
}

// extraRules are the rights that the chart grants beyond config/rbac, by role.
var extraRules = map[string][]rbacv1.PolicyRule{
	"keygate-certs": {
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"keygate-ca", "keygate-extauthz-tls", "keygate-client-tls"}, Verbs: []string{"get", "update"}},
	},
	"keygate-certs-setup": {
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"keygate-ca", "keygate-extauthz-tls", "keygate-client-tls"}, Verbs: []string{"get", "update"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}},
	},
	"keygate-selftest": {
		{APIGroups: []string{"keygate.dev"}, Resources: []string{"apikeys", "apikeypolicies"}, Verbs: []string{"create"}},
		{APIGroups: []string{"keygate.dev"}, Resources: []string{"apikeys"}, ResourceNames: []string{"keygate-selftest"}, Verbs: []string{"get", "patch", "delete"}},
		{APIGroups: []string{"keygate.dev"}, Resources: []string{"apikeypolicies"}, ResourceNames: []string{"keygate-selftest"}, Verbs: []string{"get", "delete"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"keygate-selftest"}, Verbs: []string{"get"}},
	},
}

// TestNoOtherRights: with everything on, the chart grants what config/rbac grants,
// and what is listed above, in the release's namespace, and nothing else.
func TestNoOtherRights(t *testing.T) {
	known := map[string]bool{}
	for _, object := range Configured(t, systemNamespace, keysNamespace) {
		known[id(object)] = true
	}
	seen := 0
	for _, object := range Render(t, everything...) {
		switch kind := object.GetKind(); {
		case known[id(object)] || !strings.HasPrefix(object.GetAPIVersion(), "rbac."):
		case kind == "Role":
			var role rbacv1.Role
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &role); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(extraRules[role.Name], role.Rules); diff != "" || role.Namespace != systemNamespace {
				t.Errorf("%s:\n%s", id(object), diff)
			}
			seen++
		case kind == "RoleBinding":
			var binding rbacv1.RoleBinding
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &binding); err != nil {
				t.Fatal(err)
			}
			want := []rbacv1.Subject{{Kind: "ServiceAccount", Name: binding.Name, Namespace: systemNamespace}}
			if binding.RoleRef.Name != binding.Name || !slices.Equal(binding.Subjects, want) {
				t.Errorf("%s binds %s to %v", id(object), binding.RoleRef.Name, binding.Subjects)
			}
		default:
			t.Errorf("the chart has %s, which config/rbac has not", id(object))
		}
	}
	if seen != len(extraRules) {
		t.Errorf("%d roles were seen, want %d", seen, len(extraRules))
	}
}

// TestSetupAccountIsTemporary: what may create Secrets is gone when its Job is done.
func TestSetupAccountIsTemporary(t *testing.T) {
	for _, object := range Render(t) {
		if object.GetName() != "keygate-certs-setup" {
			continue
		}
		if policy := object.GetAnnotations()["helm.sh/hook-delete-policy"]; policy != "before-hook-creation,hook-succeeded" {
			t.Errorf("%s is deleted: %q", id(object), policy)
		}
	}
}

// TestClientsElsewhere: in a namespace of a further client, the accounts get its one
// Secret and no more.
func TestClientsElsewhere(t *testing.T) {
	objects := Render(t, "--set=tls.clients.edge=keygate,tls.clients.gone=null")
	for _, object := range objects {
		if object.GetNamespace() != "edge" || object.GetKind() != "Role" {
			continue
		}
		rules, _, err := unstructured.NestedSlice(object.Object, "rules")
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(rules)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), `"resourceNames":["keygate"]`) {
			t.Errorf("%s: %s", id(object), text)
		}
	}
}
