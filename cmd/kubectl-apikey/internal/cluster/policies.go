package cluster

import (
	"context"
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/policy"
)

// PolicyOf is the name of an APIKey's policy.
func PolicyOf(key *v1alpha1.APIKey) client.ObjectKey {
	name := client.ObjectKey{Namespace: key.Spec.PolicyRef.Namespace, Name: key.Spec.PolicyRef.Name}
	if name.Namespace == "" {
		name.Namespace = key.Namespace
	}
	return name
}

// Policy reads one APIKeyPolicy.
func (c *Cluster) Policy(ctx context.Context, name client.ObjectKey) (*v1alpha1.APIKeyPolicy, error) {
	p := &v1alpha1.APIKeyPolicy{}
	return p, c.client.Get(ctx, name, p)
}

// Policies lists the APIKeyPolicies that the user may read: all, else those of the
// user's namespace.
func (c *Cluster) Policies(ctx context.Context) ([]v1alpha1.APIKeyPolicy, error) {
	list := &v1alpha1.APIKeyPolicyList{}
	err := c.client.List(ctx, list)
	if apierrors.IsForbidden(err) {
		err = c.client.List(ctx, list, client.InNamespace(c.Namespace))
	}
	return list.Items, err
}

// Compile compiles the spec of an APIKeyPolicy, as the controller does.
func Compile(p *v1alpha1.APIKeyPolicy) (*policy.Policy, *policy.Source, error) {
	source := &policy.Source{
		Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), Generation: p.Generation,
		Created: p.CreationTimestamp.Time, ClaimsHosts: claimsHosts(p), Spec: p.Spec,
	}
	compiled, err := policy.Compile(source)
	return compiled, source, err
}

// claimsHosts reports whether the operator lets a policy decide hosts, as its status
// tells.
func claimsHosts(p *v1alpha1.APIKeyPolicy) bool {
	claimed := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionHostsClaimed)
	return claimed != nil && claimed.Reason != v1alpha1.ReasonNamespaceNotAllowed
}

// Unreadable reports whether err says that the user may not read an object, or that it
// is not there: which of the two is no business of the user's.
func Unreadable(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && (apierrors.IsForbidden(err) || apierrors.IsNotFound(err))
}
