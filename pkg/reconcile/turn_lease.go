package reconcile

import (
	"context"
	"log/slog"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/pkg/usage"
)

// defaultTurnsEvery is how long extauthz may be without the Lease that its replicas take
// turns by.
const defaultTurnsEvery = time.Minute

// turnLease makes that Lease where it is missing: extauthz may make none, and Argo CD applies
// no Lease of a manifest.
type turnLease struct {
	client    client.Client
	namespace string
	every     time.Duration
	log       *slog.Logger
}

// Start implements manager.Runnable: it is for the leader.
func (t *turnLease) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, t.make, t.every)
	return nil
}

func (t *turnLease) make(ctx context.Context) {
	err := t.client.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Namespace: t.namespace, Name: usage.LeaseName, Labels: map[string]string{"app.kubernetes.io/part-of": "keygate"},
	}})
	if err != nil && !apierrors.IsAlreadyExists(err) && ctx.Err() == nil {
		t.log.Warn("the Lease that extauthz takes turns by cannot be made; it is tried again", "lease", usage.LeaseName, "error", err)
	}
}
