package reconcile

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// The names of the cache's indexes.
const (
	// secretIndex of the keys namespace, by the values below. One index for all, so
	// that a seal is checked once for each form of a Secret.
	secretIndex = "keygate"
	// policyIndex of APIKeys, by the policy that they refer to, as namespace/name.
	policyIndex = "policy"
	// uidIndex of APIKeys.
	uidIndex = "uid"
	// registrationIndex of APIKeys that register a key, by the names that its record may
	// have.
	registrationIndex = "registration"
)

// byOwner finds the records that are sealed as an APIKey's.
func byOwner(uid string) string { return "owner/" + uid }

// byOwnerName finds the records that are sealed as those of an APIKey of a name,
// given as namespace/name, whichever APIKey of that name it was.
func byOwnerName(name string) string { return "name/" + name }

// bySuspect finds the records without a valid seal that are labelled as an
// APIKey's. Only ever a reason to issue nothing, or to let nobody in.
func bySuspect(uid string) string { return "suspect/" + uid }

// byPolicy finds the Active records of a policy, given as namespace/name.
func byPolicy(name string) string { return "policy/" + name }

// byHost finds the accepted policies that name a host, as it is written.
func byHost(host string) string { return "host/" + host }

// addIndexes must be called before the cache starts.
func addIndexes(ctx context.Context, indexer client.FieldIndexer, root *keysecret.Root) error {
	if err := indexer.IndexField(ctx, &corev1.Secret{}, secretIndex, func(o client.Object) []string {
		return secretValues(root.Sealer, o.(*corev1.Secret))
	}); err != nil {
		return err
	}
	if err := indexer.IndexField(ctx, &v1alpha1.APIKey{}, policyIndex, func(o client.Object) []string {
		return []string{policyOf(o.(*v1alpha1.APIKey)).String()}
	}); err != nil {
		return err
	}
	if err := indexer.IndexField(ctx, &v1alpha1.APIKey{}, registrationIndex, func(o client.Object) []string {
		return recordNames(root.Peppers, o.(*v1alpha1.APIKey))
	}); err != nil {
		return err
	}
	return indexer.IndexField(ctx, &v1alpha1.APIKey{}, uidIndex, func(o client.Object) []string {
		return []string{string(o.GetUID())}
	})
}

// secretValues are the values that a Secret is found by, from its sealed content.
func secretValues(sealer *keysecret.Sealer, secret *corev1.Secret) []string {
	switch secret.Type {
	case keysecret.TypeRecord:
		record, err := sealer.DecodeRecord(secret)
		if err != nil {
			return []string{bySuspect(secret.Labels[keysecret.LabelOwnerUID])}
		}
		values := []string{byOwner(record.Owner.UID), byOwnerName(record.Owner.Namespace + "/" + record.Owner.Name)}
		if record.State == apikey.Active {
			values = append(values, byPolicy(record.Policy.Namespace+"/"+record.Policy.Name))
		}
		return values
	case keysecret.TypePolicy:
		source, err := sealer.DecodePolicy(secret)
		if err != nil {
			return nil
		}
		var values []string
		for _, host := range source.Spec.Hosts {
			values = append(values, byHost(string(host)))
		}
		return values
	}
	return nil
}

// policyOf names the policy that an APIKey refers to.
func policyOf(key *v1alpha1.APIKey) client.ObjectKey {
	ref := client.ObjectKey{Namespace: key.Spec.PolicyRef.Namespace, Name: key.Spec.PolicyRef.Name}
	if ref.Namespace == "" {
		ref.Namespace = key.Namespace
	}
	return ref
}
