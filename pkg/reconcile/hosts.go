package reconcile

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/policy"
)

// claimed is the HostsClaimed condition of a policy, given the source in force.
func (r *policies) claimed(ctx context.Context, source *policy.Source) (metav1.Condition, error) {
	switch {
	case source == nil:
		return no(v1alpha1.ConditionHostsClaimed, v1alpha1.ReasonInvalid, "no spec of this policy is in force; the Accepted condition says why"), nil
	case len(source.Spec.Hosts) == 0:
		return yes(v1alpha1.ConditionHostsClaimed, v1alpha1.ReasonNoHosts, "the policy names no host; it is reached by name only"), nil
	case !source.ClaimsHosts:
		return no(v1alpha1.ConditionHostsClaimed, v1alpha1.ReasonNamespaceNotAllowed, "policies of this namespace may not claim hosts; the policy is reached by name only"), nil
	}
	rivals, err := r.rivals(ctx, source)
	if err != nil {
		return metav1.Condition{}, err
	}
	return claim(source, rivals), nil
}

// rivals are the accepted policies that name one of the source's hosts.
func (r *policies) rivals(ctx context.Context, source *policy.Source) ([]*policy.Source, error) {
	var rivals []*policy.Source
	seen := map[string]bool{}
	for _, host := range source.Spec.Hosts {
		secrets, err := r.store.indexed(ctx, byHost(string(host)))
		if err != nil {
			return nil, err
		}
		for i := range secrets {
			other := formOf(r.store.sealer, &secrets[i]).policy
			if other == nil || seen[secrets[i].Name] || other.Namespace == source.Namespace && other.Name == source.Name {
				continue
			}
			seen[secrets[i].Name] = true
			rivals = append(rivals, other)
		}
	}
	return rivals, nil
}

// claim is the HostsClaimed condition of a source among its rivals. It is a pure
// function.
func claim(source *policy.Source, rivals []*policy.Source) metav1.Condition {
	entries := []policy.Entry{entryOf(source)}
	for _, rival := range rivals {
		entries = append(entries, entryOf(rival))
	}
	table := policy.NewTable(entries)
	var lost []string
	for _, host := range source.Spec.Hosts {
		owner, ok := table.Owner(string(host))
		if ok && owner.UID != source.UID {
			lost = append(lost, fmt.Sprintf("%s is decided by the policy %s/%s", host, owner.Namespace, owner.Name))
		}
	}
	if len(lost) > 0 {
		return no(v1alpha1.ConditionHostsClaimed, v1alpha1.ReasonHostConflict, strings.Join(lost, "; ")+": it is older. Take the hosts out of one of the policies")
	}
	return yes(v1alpha1.ConditionHostsClaimed, v1alpha1.ReasonClaimed, "every host is decided by this policy")
}

// entryOf is a source as the table of hosts takes it.
func entryOf(source *policy.Source) policy.Entry {
	entry := policy.Entry{Namespace: source.Namespace, Name: source.Name, UID: source.UID, Created: source.Created}
	if source.ClaimsHosts {
		for _, host := range source.Spec.Hosts {
			entry.Hosts = append(entry.Hosts, string(host))
		}
	}
	return entry
}
