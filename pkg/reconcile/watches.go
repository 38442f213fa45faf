package reconcile

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

// countDelay is how long a policy's count of keys may lag: so often at the most is
// it written, however many keys come and go.
const countDelay = time.Second

// queue takes what is to be reconciled.
type queue = workqueue.TypedRateLimitingInterface[ctrl.Request]

// onChange handles every change of objects of one type: before is nil where the
// object is new, after is nil where it is gone.
func onChange[T any, P interface {
	*T
	client.Object
}](handle func(ctx context.Context, before, after P, q queue)) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { handle(ctx, nil, e.Object.(P), q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			handle(ctx, e.ObjectOld.(P), e.ObjectNew.(P), q)
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { handle(ctx, e.Object.(P), nil, q) },
	}
}

func add(q queue, names ...client.ObjectKey) {
	for _, name := range names {
		q.Add(ctrl.Request{NamespacedName: name})
	}
}

// watcher finds what a change concerns.
type watcher struct {
	store *store
	drift *drift
}

// keysOf returns the names of the cached APIKeys that match.
func (w *watcher) keysOf(ctx context.Context, matching ...client.ListOption) []client.ObjectKey {
	list := &v1alpha1.APIKeyList{}
	if err := w.store.client.List(ctx, list, append(matching, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil // a cache that has not started: all APIKeys are yet to come
	}
	names := make([]client.ObjectKey, len(list.Items))
	for i := range list.Items {
		names[i] = client.ObjectKeyFromObject(&list.Items[i])
	}
	return names
}

// secretForKeys enqueues the APIKeys that a Secret of the keys namespace concerns.
func (w *watcher) secretForKeys(ctx context.Context, before, after *corev1.Secret, q queue) {
	w.drift.observe(before, after)
	for _, secret := range []*corev1.Secret{before, after} {
		if secret == nil {
			continue
		}
		add(q, w.keysOf(ctx, client.MatchingFields{registrationIndex: secret.Name})...)
		switch held := formOf(w.store.sealer, secret); {
		case held.record != nil:
			add(q, client.ObjectKey{Namespace: held.record.Owner.Namespace, Name: held.record.Owner.Name})
		case held.ledger != nil:
			add(q, client.ObjectKey{Namespace: held.ledger.Owner.Namespace, Name: held.ledger.Owner.Name})
		case held.policy != nil:
			add(q, w.keysOf(ctx, client.MatchingFields{policyIndex: held.policy.Namespace + "/" + held.policy.Name})...)
		default:
			add(q, w.keysOf(ctx, client.MatchingFields{uidIndex: suspectedOwner(secret)})...)
		}
	}
}

// suspectedOwner is the uid of the APIKey that an unreadable Secret may be of.
func suspectedOwner(secret *corev1.Secret) string {
	if uid, ok := strings.CutPrefix(secret.Name, keysecret.LedgerName("")); ok {
		return uid
	}
	return secret.Labels[keysecret.LabelOwnerUID]
}

// policyForKeys enqueues the APIKeys of a policy that came or went.
func (w *watcher) policyForKeys(ctx context.Context, before, after *v1alpha1.APIKeyPolicy, q queue) {
	if before != nil && after != nil {
		return // what of it is in force comes as a Secret
	}
	p := after
	if p == nil {
		p = before
	}
	add(q, w.keysOf(ctx, client.MatchingFields{policyIndex: client.ObjectKeyFromObject(p).String()})...)
}

// namespaceForKeys enqueues the APIKeys of a namespace whose labels changed.
func (w *watcher) namespaceForKeys(ctx context.Context, before, after *metav1.PartialObjectMetadata, q queue) {
	if after == nil || before != nil && maps.Equal(before.Labels, after.Labels) {
		return
	}
	add(q, w.keysOf(ctx, client.InNamespace(after.Name))...)
}

// secretForSweeper enqueues a Secret by its own name.
func (w *watcher) secretForSweeper(_ context.Context, before, after *corev1.Secret, q queue) {
	secret := after
	if secret == nil {
		secret = before
	}
	if swept(secret.Name) {
		w.drift.observe(before, after)
		add(q, client.ObjectKeyFromObject(secret))
	}
}

// keyForSweeper enqueues what is left of an APIKey that is gone.
func (w *watcher) keyForSweeper(ctx context.Context, before, after *v1alpha1.APIKey, q queue) {
	if after != nil {
		return
	}
	add(q, client.ObjectKey{Namespace: w.store.namespace, Name: keysecret.LedgerName(string(before.UID))})
	records, _ := w.store.recordsOf(ctx, string(before.UID)) // an error: a cache that has not started
	for _, r := range records {
		add(q, client.ObjectKeyFromObject(r.secret))
	}
}

// secretForPolicies enqueues the policies that a Secret of the keys namespace
// concerns: its own, those that name the same hosts, and, after a while, the one
// whose keys have become more or fewer.
func (w *watcher) secretForPolicies(ctx context.Context, before, after *corev1.Secret, q queue) {
	if before != nil && before.Type == keysecret.TypePolicy {
		w.drift.observe(before, after) // the rest is not looked after here
	}
	old, held := formOf(w.store.sealer, before), formOf(w.store.sealer, after)
	if was, is := activeFor(old.record), activeFor(held.record); was != is {
		for _, name := range []client.ObjectKey{was, is} {
			if name.Name != "" {
				q.AddAfter(ctrl.Request{NamespacedName: name}, countDelay)
			}
		}
	}
	for _, source := range []*policy.Source{old.policy, held.policy} {
		if source != nil {
			add(q, client.ObjectKey{Namespace: source.Namespace, Name: source.Name})
		}
	}
	if !slices.Equal(claimsOf(old.policy), claimsOf(held.policy)) {
		w.addRivals(ctx, q, old.policy, held.policy)
	}
}

// addRivals enqueues the policies that name a host which one of the sources names.
func (w *watcher) addRivals(ctx context.Context, q queue, sources ...*policy.Source) {
	for _, source := range sources {
		if source == nil {
			continue
		}
		for _, host := range source.Spec.Hosts {
			secrets, _ := w.store.indexed(ctx, byHost(string(host))) // an error: a cache that has not started
			for i := range secrets {
				if rival := formOf(w.store.sealer, &secrets[i]).policy; rival != nil {
					add(q, client.ObjectKey{Namespace: rival.Namespace, Name: rival.Name})
				}
			}
		}
	}
}

// activeFor is the policy that a record is Active for, the zero value where none.
func activeFor(r *apikey.Record) client.ObjectKey {
	if r == nil || r.State != apikey.Active {
		return client.ObjectKey{}
	}
	return client.ObjectKey{Namespace: r.Policy.Namespace, Name: r.Policy.Name}
}

// claimsOf is what of a source other policies' claims depend on.
func claimsOf(source *policy.Source) []string {
	if source == nil || !source.ClaimsHosts {
		return nil
	}
	return append([]string{source.UID}, entryOf(source).Hosts...)
}
