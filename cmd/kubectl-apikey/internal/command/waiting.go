package command

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/view"
)

// waiting is --wait and --timeout.
type waiting struct {
	wait    bool
	timeout time.Duration
}

// add adds the flags.
func (w *waiting) add(cmd *cobra.Command, what string) {
	cmd.Flags().BoolVar(&w.wait, "wait", true, "wait until "+what)
	cmd.Flags().DurationVar(&w.timeout, "timeout", time.Minute, "longest wait")
}

// limit bounds a wait.
func (w *waiting) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, w.timeout)
}

// ready waits until an APIKey works and done says so, too. Errors say what to do.
func (w *waiting) ready(ctx context.Context, c *cluster.Cluster, key *v1alpha1.APIKey, done func(*v1alpha1.APIKey) bool) (*v1alpha1.APIKey, error) {
	ctx, cancel := w.limit(ctx)
	defer cancel()
	key, err := c.WaitReady(ctx, key, done)
	return key, w.explain(key, err)
}

// explain makes of the end of a wait what a person can act on.
func (w *waiting) explain(key *v1alpha1.APIKey, err error) error {
	if refusal, ok := cluster.IsRefusal(err); ok {
		return outcome.New(outcome.Refused, advice(key, refusal), "%s does not work: %s", key.Name, view.Clean(refusal.Error()))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		state, _ := view.State(key)
		if delivered := meta.FindStatusCondition(key.Status.Conditions, v1alpha1.ConditionDelivered); delivered != nil && delivered.Status == metav1.ConditionFalse {
			state += ", and not delivered: " + view.Clean(delivered.Message)
		}
		return outcome.New(outcome.Late, "see `kubectl apikey describe "+key.Name+"`; the controller may be away", "after %s %s is not there yet: it is %s", w.timeout, key.Name, state)
	}
	return err
}

// advice is what to do about a refusal.
func advice(key *v1alpha1.APIKey, r *cluster.Refusal) string {
	policy := cluster.PolicyOf(key).String()
	switch r.Reason {
	case v1alpha1.ReasonPolicyNotFound:
		return "check the policy's name, " + policy + ", or ask its team to grant the namespace " + key.Namespace
	case v1alpha1.ReasonPolicyNotAccepted:
		return "the policy has a mistake: its team sees it with `kubectl describe apikeypolicy`"
	case v1alpha1.ReasonScopesNotGranted, v1alpha1.ReasonEnvironmentNotGranted, v1alpha1.ReasonPlanNotGranted:
		return "ask the team of " + policy + " to grant it, or `kubectl edit apikey " + key.Name + "` to ask for less"
	case v1alpha1.ReasonLifetimeNotGranted:
		return "let the key expire sooner: `kubectl edit apikey " + key.Name + "`, spec.expiresAt"
	case v1alpha1.ReasonDeliveryConflict:
		return "delete the Secret " + cluster.SecretName(key) + " if nobody needs it, or create the key with another --secret-name"
	case v1alpha1.ReasonSuspended:
		return "`kubectl apikey resume " + key.Name + "` lets callers in again"
	case v1alpha1.ReasonRevoked, v1alpha1.ReasonExpired:
		return "create a new APIKey"
	}
	return "see `kubectl apikey describe " + key.Name + "`"
}
