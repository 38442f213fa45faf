package reconcile

import (
	"context"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

// accepted is the policies in force, compiled once for each form. Safe for
// concurrent use.
type accepted struct {
	store *store
	drift *drift

	mu sync.Mutex
	// compiled by the name of the Secret.
	compiled map[string]compiledPolicy
}

// compiledPolicy is a policy and the form of the Secret that it was compiled from.
type compiledPolicy struct {
	resourceVersion string
	policy          *policy.Policy
}

func newAccepted(s *store, d *drift) *accepted {
	return &accepted{store: s, drift: d, compiled: map[string]compiledPolicy{}}
}

// policy is the form of a policy that is in force, compiled; nil where there is
// none. While the stored one is being put back it is the remembered one, if the
// policy of that uid ("": there is no policy) still exists.
func (a *accepted) policy(ctx context.Context, ref client.ObjectKey, uid string) (*policy.Policy, error) {
	name := keysecret.PolicyName(ref.Namespace, ref.Name)
	good, lost := a.drift.lost(name) // before the cache, which knows of it by then
	secret, err := a.store.cached(ctx, name)
	if err != nil {
		return nil, err
	}
	if lost && good.policy != nil && good.policy.UID == uid {
		if !supersedes(formOf(a.store.sealer, secret), good.form) {
			return compile(good.policy), nil
		}
		a.drift.settle(name, good) // a listener told late of what was put back by then
	}
	if secret == nil {
		a.forget(name)
		return nil, nil
	}
	if known, ok := a.known(name, secret.ResourceVersion); ok {
		return known, nil
	}
	compiled := compile(formOf(a.store.sealer, secret).policy)
	a.remember(name, compiledPolicy{secret.ResourceVersion, compiled})
	return compiled, nil
}

// compile returns nil for no source, and for one that another version of the
// controller accepted but this one can't put in force.
func compile(source *policy.Source) *policy.Policy {
	if source == nil {
		return nil
	}
	compiled, err := policy.Compile(source)
	if err != nil {
		return nil
	}
	return compiled
}

func (a *accepted) known(name, resourceVersion string) (*policy.Policy, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known, ok := a.compiled[name]
	return known.policy, ok && known.resourceVersion == resourceVersion
}

func (a *accepted) remember(name string, p compiledPolicy) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.compiled[name] = p
}

func (a *accepted) forget(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.compiled, name)
}
