package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

// policies keeps the accepted form of each APIKeyPolicy.
type policies struct {
	store   *store
	drift   *drift
	events  *events
	metrics *metrics
	now     func() time.Time
	// claims reports whether policies of a namespace may decide hosts.
	claims func(namespace string) bool
}

// Reconcile implements reconcile.Reconciler.
func (r *policies) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	p := &v1alpha1.APIKeyPolicy{}
	err := r.store.client.Get(ctx, request.NamespacedName, p)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	var wait time.Duration
	if err != nil {
		wait, err = r.withdraw(ctx, request.NamespacedName)
	} else {
		err = r.settle(ctx, p)
	}
	if errors.Is(err, errLostRace) {
		return ctrl.Result{RequeueAfter: lookAgain}, nil
	}
	return ctrl.Result{RequeueAfter: wait}, err
}

// withdraw deletes the accepted form of a policy that is gone, which is only
// believed of the API server itself. It returns after how long to look for what a
// listener tells of late; 0: there is nothing to be told.
func (r *policies) withdraw(ctx context.Context, ref client.ObjectKey) (wait time.Duration, err error) {
	err = r.store.live.Get(ctx, ref, &v1alpha1.APIKeyPolicy{})
	if client.IgnoreNotFound(err) != nil {
		return 0, fmt.Errorf("look for the policy: %w", err)
	}
	if err == nil {
		return 0, errLostRace // the cache lags
	}
	name := keysecret.PolicyName(ref.Namespace, ref.Name)
	if lost, remembered := r.drift.lost(name); remembered {
		defer r.drift.settle(name, lost)
		wait = countDelay
	}
	secret, err := r.store.cached(ctx, name)
	if err != nil || secret == nil {
		return wait, err
	}
	return wait, r.store.remove(ctx, secret)
}

// settle makes the accepted form and the status of a policy what they ought to be.
func (r *policies) settle(ctx context.Context, p *v1alpha1.APIKeyPolicy) error {
	name := keysecret.PolicyName(p.Namespace, p.Name)
	lost, remembered := r.drift.lost(name) // before the cache, which knows of it by then
	secret, err := r.store.cached(ctx, name)
	if err != nil {
		return err
	}
	present := formOf(r.store.sealer, secret).policy
	drifted := remembered && lost.policy.UID == string(p.UID) && !supersedes(form{policy: present}, lost.form)
	last := present
	if drifted {
		last = lost.policy
	}
	verdict := accept(p, last, r.claims(p.Namespace))
	if err := r.store.enforce(ctx, verdict.source, present, secret); err != nil {
		return err
	}
	if remembered {
		r.drift.settle(name, lost)
	}
	if drifted {
		r.metrics.restored.Inc()
		r.events.policyRestored(p, name)
	}
	hosts, err := r.claimed(ctx, verdict.source)
	if err != nil {
		return err
	}
	return r.report(ctx, p, verdict.condition, hosts)
}

// enforce writes the accepted form where it differs from the present one, or
// deletes that of an earlier policy of the name.
func (s *store) enforce(ctx context.Context, want, present *policy.Source, secret *corev1.Secret) error {
	switch {
	case want == nil && present != nil:
		return s.remove(ctx, secret)
	case want == nil || sameSource(want, present) && s.sealer.Current(secret):
		return nil
	}
	return s.putPolicy(ctx, want, secret)
}

func sameSource(a, b *policy.Source) bool {
	if b == nil {
		return false
	}
	left, errLeft := policy.MarshalSource(a)
	right, errRight := policy.MarshalSource(b)
	return errLeft == nil && errRight == nil && bytes.Equal(left, right)
}

// acceptance is what becomes of a policy: the source in force, nil for none, and
// the Accepted condition.
type acceptance struct {
	source    *policy.Source
	condition metav1.Condition
}

// accept takes the newest spec if it can be put in force, else the last one of the
// same policy that could. It is a pure function.
func accept(p *v1alpha1.APIKeyPolicy, last *policy.Source, claims bool) acceptance {
	newest := &policy.Source{
		Namespace:   p.Namespace,
		Name:        p.Name,
		UID:         string(p.UID),
		Generation:  p.Generation,
		Created:     p.CreationTimestamp.UTC(),
		ClaimsHosts: claims,
		Spec:        p.Spec,
	}
	reason, problem := examine(newest)
	if problem == "" {
		return acceptance{newest, yes(v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted, "requests are judged by this spec")}
	}
	if last == nil || last.UID != newest.UID {
		return acceptance{nil, no(v1alpha1.ConditionAccepted, reason, problem+"\nno earlier spec is in force: requests are denied")}
	}
	kept := *last
	kept.ClaimsHosts = claims
	return acceptance{&kept, no(v1alpha1.ConditionAccepted, reason, fmt.Sprintf("%s\nthe spec of generation %d stays in force", problem, last.Generation))}
}

// examine returns the reason and message why a source can't be put in force; "" if
// it can.
func examine(source *policy.Source) (reason, problem string) {
	if _, err := policy.Compile(source); err != nil {
		return v1alpha1.ReasonInvalid, err.Error()
	}
	content, err := policy.MarshalSource(source)
	if err != nil {
		return v1alpha1.ReasonInvalid, err.Error()
	}
	if len(content) > keysecret.MaxPolicySize {
		return v1alpha1.ReasonTooLarge, fmt.Sprintf("the spec has %d KiB as JSON, and %d is the most: make error bodies or rules smaller, or divide the policy", len(content)>>10, keysecret.MaxPolicySize>>10)
	}
	return "", ""
}

// report writes the status of a policy where it differs from what ought to be.
func (r *policies) report(ctx context.Context, p *v1alpha1.APIKeyPolicy, want ...metav1.Condition) error {
	keys, err := r.count(ctx, p)
	if err != nil {
		return err
	}
	base := p.DeepCopy()
	p.Status.ObservedGeneration = p.Generation
	p.Status.Conditions = conditions(p.Status.Conditions, p.Generation, r.now(), want...)
	p.Status.Keys = keys
	if equality.Semantic.DeepEqual(base.Status, p.Status) {
		return nil
	}
	if err := r.store.client.Status().Patch(ctx, p, client.MergeFrom(base), fieldOwner); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	r.events.policyReported(p, base.Status.Conditions, p.Status.Conditions)
	return nil
}

// count is how many APIKeys have an Active record of the policy. Owners are told
// apart by label: it is for display only.
func (r *policies) count(ctx context.Context, p *v1alpha1.APIKeyPolicy) (int64, error) {
	secrets, err := r.store.indexed(ctx, byPolicy(p.Namespace+"/"+p.Name))
	if err != nil {
		return 0, err
	}
	owners := map[string]bool{}
	for i := range secrets {
		owners[secrets[i].Labels[keysecret.LabelOwnerUID]] = true
	}
	return int64(len(owners)), nil
}
