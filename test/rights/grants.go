package rights

import (
	"cmp"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Grant is one verb on one resource for one account.
type Grant struct {
	// Account is namespace:name of a service account.
	Account string
	// Namespace that it is for; "" is every one.
	Namespace string
	// Group is "" for Kubernetes' own.
	Group string
	// Resource has its subresource behind a slash.
	Resource string
	// Name of the object; "" is any.
	Name string
	Verb string
}

func (g Grant) String() string {
	return fmt.Sprintf("%s: %s %s %s/%s", g.Account, g.Verb, in(g.Group, g.Resource), cmp.Or(g.Namespace, "*"), cmp.Or(g.Name, "*"))
}

// covers reports whether it allows a call.
func (g Grant) covers(c Call) bool {
	return g.Account == c.Account && g.Verb == c.Verb && g.Group == c.Group && g.Resource == c.Resource &&
		(g.Namespace == "" || g.Namespace == c.Namespace) && (g.Name == "" || g.Name == c.Name)
}

// Grants are what the roles and bindings among objects grant to service accounts.
func Grants(objects []*unstructured.Unstructured) ([]Grant, error) {
	rules := map[roleID][]rbacv1.PolicyRule{}
	var bindings []rbacv1.RoleBinding
	for _, object := range objects {
		switch kind := object.GetKind(); kind {
		case "Role", "ClusterRole":
			var role rbacv1.Role // a ClusterRole has the same members, and no namespace
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &role); err != nil {
				return nil, err
			}
			rules[roleID{kind, role.Namespace, role.Name}] = role.Rules
		case "RoleBinding", "ClusterRoleBinding":
			var binding rbacv1.RoleBinding
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &binding); err != nil {
				return nil, err
			}
			bindings = append(bindings, binding)
		}
	}
	var all []Grant
	for _, binding := range bindings {
		found, there := rules[roleID{binding.RoleRef.Kind, binding.Namespace, binding.RoleRef.Name}]
		if !there {
			return nil, fmt.Errorf("the binding %s/%s is of no role that is here", binding.Namespace, binding.Name)
		}
		for _, subject := range binding.Subjects {
			if subject.Kind != rbacv1.ServiceAccountKind {
				return nil, fmt.Errorf("the binding %s/%s is for a %s", binding.Namespace, binding.Name, subject.Kind)
			}
			for _, r := range found {
				all = append(all, granted(subject.Namespace+":"+subject.Name, binding.Namespace, r)...)
			}
		}
	}
	return all, nil
}

// roleID names a role. One that is bound in a namespace is that namespace's own, or has none.
type roleID struct{ kind, namespace, name string }

func granted(account, namespace string, r rbacv1.PolicyRule) (all []Grant) {
	names := r.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			for _, name := range names {
				for _, verb := range r.Verbs {
					all = append(all, Grant{account, namespace, group, resource, name, verb})
				}
			}
		}
	}
	return all
}

// Unused are the grants that no call needed. One for every namespace is needed only
// where none for the call's own namespace allows it, and the same goes for names.
func Unused(grants []Grant, calls []Call) []Grant {
	used := map[Grant]bool{}
	for _, call := range calls {
		var best []Grant
		for _, grant := range grants {
			if grant.covers(call) {
				best = append(best, grant)
			}
		}
		if len(best) > 0 {
			used[slices.MaxFunc(best, func(a, b Grant) int {
				return cmp.Or(cmp.Compare(len(a.Namespace), len(b.Namespace)), cmp.Compare(len(a.Name), len(b.Name)))
			})] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(grants), func(g Grant) bool { return used[g] })
}

// Exceeding are the calls of the grants' accounts that none of the grants allows, or
// that were refused.
func Exceeding(grants []Grant, calls []Call) (all []Call) {
	for _, call := range calls {
		ours := slices.ContainsFunc(grants, func(g Grant) bool { return g.Account == call.Account })
		if ours && (call.Refused || !slices.ContainsFunc(grants, func(g Grant) bool { return g.covers(call) })) {
			all = append(all, call)
		}
	}
	return all
}
