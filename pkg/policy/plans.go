package policy

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"keygate.dev/keygate/api/v1alpha1"
)

// Bounds of plans, as in the schema of the API. A window is no shorter than what
// Retry-After can say, and no longer than a leap year.
const (
	maxPlans    = 32
	maxLimits   = 4
	maxRequests = 1_000_000_000
	minPer      = time.Second
	maxPer      = 366 * 24 * time.Hour
)

// Limit is how many requests a key may make within a window.
type Limit struct {
	// Requests that are allowed: 1 to 1,000,000,000.
	Requests int64
	// Per is how long the window lasts: whole seconds, from one second to 366 days.
	Per time.Duration
}

// planSet is a set of one policy's plans.
type planSet uint64

// plans are the plans that a policy declares.
type plans struct {
	inclusion[planSet]
	// limits maps plan → its limits, the shortest window first.
	limits map[string][]Limit
	// fixed maps environment → the plan that all its keys have.
	fixed map[string]string
	// byDefault is the plan of keys that ask for none; "": they have none.
	byDefault string
}

// Plan is the plan in force of a key that asks for one ("": for none): its
// environment's own, else the one asked for, else the default, else none, which is "".
//
// ok is false where the key can't have what it asks for. Then plan is the one asked
// for, which the policy does not declare; or, where it is another, the environment's
// own, beside which no other can be chosen.
func (p *Policy) Plan(environment, asked string) (plan string, ok bool) {
	if fixed := p.plans.fixed[environment]; fixed != "" {
		return fixed, asked == "" || asked == fixed
	}
	if asked == "" {
		return p.plans.byDefault, true
	}
	return asked, p.plans.bits[asked] != 0
}

// Limits are what the keys of a plan may use, each key for itself, the shortest window
// first; all of them hold. No two are per the same time. nil: as much as they like,
// as with a plan that the policy does not declare. They are shared: read only.
func (p *Policy) Limits(plan string) []Limit { return p.plans.limits[plan] }

// compilePlans reads the plans, and who has which without asking.
func compilePlans(spec *v1alpha1.APIKeyPolicySpec, found *problems) plans {
	at := field.NewPath("spec", "plans")
	p := plans{inclusion: newInclusion[planSet]("plan", "plans"), limits: map[string][]Limit{}, fixed: map[string]string{}}
	if !checkSize(found, at, spec.Plans, maxPlans) {
		return p
	}
	for i, d := range spec.Plans {
		planShape.check(found, at.Index(i).Child("name"), string(d.Name))
		p.declare(found, at.Index(i).Child("name"), string(d.Name))
	}
	included := map[string][]string{}
	for i, d := range spec.Plans {
		includes := at.Index(i).Child("includes")
		checkNames(found, includes, d.Includes, maxPlans)
		included[string(d.Name)] = texts(d.Includes)
		p.declared(found, includes, included[string(d.Name)])
		p.limits[string(d.Name)] = compileLimits(at.Index(i).Child("limits"), d.Limits, found)
	}
	p.close(included)
	p.assign(spec, found)
	return p
}

// assign reads which plan keys have that ask for none.
func (p *plans) assign(spec *v1alpha1.APIKeyPolicySpec, found *problems) {
	if plan := string(spec.DefaultPlan); plan != "" {
		p.one(found, field.NewPath("spec", "defaultPlan"), plan)
		p.byDefault = plan
	}
	for i, e := range spec.Environments {
		if e.Plan == "" {
			continue
		}
		p.one(found, field.NewPath("spec", "environments").Index(i).Child("plan"), string(e.Plan))
		p.fixed[string(e.Name)] = string(e.Plan)
	}
}

// compileLimits reads the limits of a plan.
func compileLimits(at *field.Path, given []v1alpha1.Limit, found *problems) []Limit {
	if given != nil && len(given) == 0 {
		found.add(at, "the list is empty: leave it out for no limit, or fill it")
	}
	if !checkSize(found, at, given, maxLimits) {
		return nil
	}
	var out []Limit
	for i, g := range given {
		limit := Limit{Requests: g.Requests, Per: g.Per.Duration}
		if limit.Requests < 1 || limit.Requests > maxRequests {
			found.add(at.Index(i).Child("requests"), "%d is not possible: choose 1 to %d", limit.Requests, maxRequests)
		}
		if limit.Per < minPer || limit.Per > maxPer || limit.Per%time.Second != 0 {
			found.add(at.Index(i).Child("per"), "%s is not possible: choose whole seconds, from 1s to %s", limit.Per, maxPer)
		}
		for j, other := range out {
			if other.Per == limit.Per {
				found.add(at.Index(i).Child("per"), "%s is the same time: keep the lower of the two limits", at.Index(j).Child("per"))
			}
		}
		out = append(out, limit)
	}
	slices.SortFunc(out, func(a, b Limit) int { return cmp.Compare(a.Per, b.Per) })
	return out
}
