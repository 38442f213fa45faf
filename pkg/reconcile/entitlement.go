package reconcile

import (
	"fmt"

	"keygate.dev/keygate/pkg/policy"
)

// entitlement is what the policy lets an APIKey have of what it asks for.
type entitlement struct {
	policy.GrantResult
	// plan in force; "": none is, or it is not granted.
	plan string
	// planRefused says why the APIKey can't have the plan that it asks for, or has
	// without asking, and what to do; "": it can.
	planRefused string
	// lifeRefused says why the APIKey can't live as long as it asks, and what to do; "":
	// it can.
	lifeRefused string
}

// inForce reports whether the APIKey's tokens may work at all, whatever their scopes.
func (e *entitlement) inForce() bool {
	return e.Known && e.EnvironmentGranted && e.planRefused == "" && e.lifeRefused == ""
}

// grant is what the policy grants of what is asked for, in an environment.
func (f *facts) grant(environment string) entitlement {
	if f.policy == nil {
		return entitlement{}
	}
	asked := make([]string, len(f.key.Spec.Scopes))
	for i, scope := range f.key.Spec.Scopes {
		asked[i] = string(scope)
	}
	plan, possible := f.policy.Plan(environment, string(f.key.Spec.Plan))
	granted := f.policy.Granted(policy.GrantNamespace{Name: f.key.Namespace, Labels: f.labels}, policy.GrantRequest{
		Environment: environment, Plan: plan, Scopes: asked, Life: f.life(),
	})
	switch {
	case !possible || !granted.PlanGranted:
		granted.Scopes = nil // what a key has, it has with its plan
		return entitlement{GrantResult: granted, planRefused: f.refusedPlan(environment, plan)}
	case !granted.LifeGranted:
		return entitlement{GrantResult: granted, lifeRefused: f.refusedLife(granted.LongestLife)}
	}
	return entitlement{GrantResult: granted, plan: plan}
}

// refusedPlan says why an APIKey can't have a plan, and what to do. One that the policy
// does not declare and one that it does not grant read alike.
func (f *facts) refusedPlan(environment, plan string) string {
	const ask = "ask the policy's owner for a grant"
	asked := string(f.key.Spec.Plan)
	none := fmt.Sprintf("the policy %s grants the namespace %s no keys", policyOf(f.key), f.key.Namespace)
	switch {
	case asked != "" && asked != plan:
		return fmt.Sprintf("keys of the environment %q have the plan %q and no other: take spec.plan out, or apply a new APIKey for another environment", environment, plan)
	case asked != "":
		return fmt.Sprintf("%s of the plan %q in the environment %q: choose another spec.plan, or %s", none, plan, environment, ask)
	case plan != "":
		return fmt.Sprintf("%s of the plan %q, which those of the environment %q have that ask for no other: choose another spec.plan or environment, or %s", none, plan, environment, ask)
	}
	return fmt.Sprintf("%s without a plan in the environment %q: choose one in spec.plan, or %s", none, environment, ask)
}
