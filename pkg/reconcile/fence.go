package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/pkg/keysecret"
)

// fence is the ValidatingAdmissionPolicy that ships in config/rbac. It names the
// controller's identity and the keys namespace literally.
const fence = "keygate-controller-secrets"

// errUnfenced is returned where nothing confines what the controller may write.
var errUnfenced = errors.New("the admission policy " + fence + " does not confine this controller: apply config/rbac/admission.yaml, with this controller's namespace and --keys-namespace in it")

const (
	// defaultFenceWithin is how long the fence is waited for: it is enforced a second
	// or two after it was applied.
	defaultFenceWithin = 10 * time.Second
	// fenceEvery is how often it is looked for.
	fenceEvery = 200 * time.Millisecond
)

// fenced reports whether the fence refused a write: the tenant made the Secret
// something else than a delivery Secret, and it is the controller's no more.
func fenced(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+fence+"'")
}

// awaitFence returns nil once the fence stands where it must: around tenants'
// namespaces, and not around the records. Both are tried by writes that the API
// server judges but does not make. It returns errUnfenced where that is not so
// within the limit.
func awaitFence(ctx context.Context, live client.Client, keysNamespace string, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errUnfenced)
	defer cancel()
	for {
		stands, err := fenceStands(ctx, live)
		if stands {
			return recordsUnfenced(ctx, live, keysNamespace)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(fenceEvery):
		}
	}
}

// fenceStands tries to make a plain Secret in a namespace that may be a tenant's.
func fenceStands(ctx context.Context, live client.Client) (bool, error) {
	err := tryCreate(ctx, live, metav1.NamespaceDefault, corev1.SecretTypeOpaque)
	if err == nil || fenced(err) || apierrors.IsForbidden(err) {
		return fenced(err), nil
	}
	return false, fmt.Errorf("look for the admission policy %s: %w", fence, err)
}

// recordsUnfenced tries to make a record.
func recordsUnfenced(ctx context.Context, live client.Client, namespace string) error {
	err := tryCreate(ctx, live, namespace, keysecret.TypeRecord)
	if fenced(err) {
		return fmt.Errorf("the admission policy %s keeps this controller out of the namespace %s: name --keys-namespace in config/rbac/admission.yaml", fence, namespace)
	}
	if err != nil {
		return fmt.Errorf("try to write the namespace %s: %w", namespace, err)
	}
	return nil
}

func tryCreate(ctx context.Context, live client.Client, namespace string, kind corev1.SecretType) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "is-the-fence-up"}, Type: kind}
	return live.Create(ctx, secret, client.DryRunAll)
}
