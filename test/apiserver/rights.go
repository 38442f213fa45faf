package apiserver

import (
	"context"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// rightsLimit bounds how long a right may take to be in force.
const rightsLimit = 30 * time.Second

// AwaitRights waits until a user may do in a namespace what a role's rules say: the API
// server learns of roles and bindings only some time after it took them.
func (s *Server) AwaitRights(user *rest.Config, namespace string, rules ...rbacv1.PolicyRule) {
	s.tb.Helper()
	client, err := kubernetes.NewForConfig(user)
	if err != nil {
		s.tb.Fatalf("make a client: %v", err)
	}
	for _, rule := range rules {
		for _, right := range rightsOf(rule, namespace) {
			err := wait.PollUntilContextTimeout(s.tb.Context(), 10*time.Millisecond, rightsLimit, true, func(ctx context.Context) (bool, error) {
				return isAllowed(ctx, client, right)
			})
			if err != nil {
				s.tb.Fatalf("wait for the right to %s %s: %v", right.Verb, right.Resource, err)
			}
		}
	}
}

// rightsOf are the rights that a rule gives in a namespace.
func rightsOf(rule rbacv1.PolicyRule, namespace string) (rights []authorizationv1.ResourceAttributes) {
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				rights = append(rights, authorizationv1.ResourceAttributes{Namespace: namespace, Verb: verb, Group: group, Resource: resource})
			}
		}
	}
	return rights
}

// isAllowed asks the API server whether the client's user has a right.
func isAllowed(ctx context.Context, client kubernetes.Interface, right authorizationv1.ResourceAttributes) (bool, error) {
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &right}}
	review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("ask for a right: %w", err)
	}
	return review.Status.Allowed, nil
}
