package authz

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
	"keygate.dev/keygate/pkg/ratelimit"
)

// samplePolicies are the sources of config/samples, in the order of their files.
func samplePolicies(tb testing.TB) []*policy.Source {
	tb.Helper()
	files, err := filepath.Glob("../../config/samples/*.yaml")
	if err != nil || len(files) < 5 {
		tb.Fatalf("%d samples: %v", len(files), err)
	}
	var out []*policy.Source
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		for doc := range strings.SplitSeq(string(data), "\n---\n") {
			var p v1alpha1.APIKeyPolicy
			if err := yaml.Unmarshal([]byte(doc), &p); err != nil || p.Kind != "APIKeyPolicy" {
				continue // an APIKey or a Namespace
			}
			out = append(out, &policy.Source{Namespace: p.Namespace, Name: p.Name, UID: "uid", Created: now, ClaimsHosts: true, Spec: p.Spec})
		}
	}
	return out
}

// FuzzSamples sends arbitrary requests to the policies of the samples, with a key of
// any scope and plan, and compares each verdict with the reference.
func FuzzSamples(f *testing.F) {
	sources := samplePolicies(f)
	policies := make([]*policy.Policy, len(sources))
	for i, src := range sources {
		policies[i] = compile(f, src)
	}
	f.Add(0, 0, 0, 0, "POST", "/v1/verify/media", "Bearer "+token, true)
	f.Add(1, 1, 0, 0, "PATCH", "/v1/accounts/1", "Bearer "+token, true)
	f.Add(2, 2, 0, 0, "DELETE", "/a%20b/", "bearer "+token, false)
	f.Add(3, 0, 0, 0, "GET", "/v1/stepsies/1", "Basic "+token, false)
	f.Add(4, 1, 1, 0, "PUT", "/v1/team/members", "Bearer "+token, true)
	f.Add(4, 0, 0, 0, "GET", "/v1/keys", "", false)
	f.Fuzz(func(t *testing.T, sample, scope, plan, environment int, method, path, authorization string, tls bool) {
		at := pick(len(sources), sample)
		spec := &sources[at].Spec
		record := activeRecord()
		record.Policy = policies[at].Ref()
		record.Environment = string(spec.Environments[pick(len(spec.Environments), environment)].Name)
		record.Scopes = nil
		if len(spec.Scopes) > 0 {
			record.Scopes = []string{string(spec.Scopes[pick(len(spec.Scopes), scope)].Name)}
		}
		if len(spec.Plans) > 0 {
			asked := spec.Plans[pick(len(spec.Plans), plan)].Name
			record.Plan, _ = policies[at].Plan(record.Environment, string(asked))
		}
		keys := newKeys(t)
		keys.add(token, 0, record)
		table := policy.NewTable([]policy.Entry{policy.NewEntry(sources[at], policies[at])})
		d := &Decider{
			Keys: keys, Policies: func() *policy.Table { return table }, Synced: func() bool { return true },
			Limiter: &fixedLimiter{result: ratelimit.Result{Allowed: true}}, Now: func() time.Time { return now },
		}
		r := &Request{Method: method, Path: path, Host: string(spec.Hosts[0]), TLS: tls}
		if authorization != "" {
			r.Header = []Field{{"authorization", authorization}}
		}
		v := d.Decide(context.Background(), r)
		if v.Reason == policy.MalformedRequest {
			return // FuzzCheckPath has its own reference
		}
		if want := reference(spec, record, r, authorization); v.Reason != want || v.Allow != (want == Allowed || want == Anonymous) {
			t.Errorf("%s %s with %v and plan %q in %s: %s, allow %v; want %s", method, path, record.Scopes, record.Plan, sources[at].Name, v.Reason, v.Allow, want)
		}
		if body := v.Denial().AppendBody(nil, policy.Values{RequestID: v.RequestID, KeyID: v.KeyID}); !v.Allow && !json.Valid(body) {
			t.Errorf("the body is no JSON: %q", body)
		}
	})
}

// pick makes a place in a list of n of any number.
func pick(n, number int) int { return ((number % n) + n) % n }

// reference judges a well-formed request as the words of the documentation do, with
// no thought of speed.
func reference(spec *v1alpha1.APIKeyPolicySpec, record *apikey.Record, r *Request, authorization string) policy.Reason {
	if spec.RequireTLS && !r.TLS {
		return policy.TLSRequired
	}
	rule := referenceRule(spec, r.Method, strings.SplitN(r.Path, "?", 2)[0])
	scheme, sent, _ := strings.Cut(authorization, " ")
	switch {
	case rule == nil:
		return policy.NoRule
	case rule.Anonymous:
		return Anonymous
	case authorization == "":
		return policy.MissingKey
	case !strings.EqualFold(scheme, "bearer") || apikey.CheckToken([]byte(sent)) != nil:
		return policy.MalformedKey
	case sent != token:
		return policy.InvalidKey
	}
	scopes := including(record.Scopes, func(name string) (includes []string) {
		for _, s := range spec.Scopes {
			if string(s.Name) == name {
				for _, i := range s.Includes {
					includes = append(includes, string(i))
				}
			}
		}
		return includes
	})
	for _, needed := range rule.Scopes {
		if !slices.Contains(scopes, string(needed)) {
			return policy.InsufficientScope
		}
	}
	if rule.AnyScope != nil && !slices.ContainsFunc(rule.AnyScope, func(s v1alpha1.ScopeName) bool { return slices.Contains(scopes, string(s)) }) {
		return policy.InsufficientScope
	}
	plans := including([]string{record.Plan}, func(name string) (includes []string) {
		for _, p := range spec.Plans {
			if string(p.Name) == name {
				for _, i := range p.Includes {
					includes = append(includes, string(i))
				}
			}
		}
		return includes
	})
	if rule.Plan != "" && !slices.Contains(plans, string(rule.Plan)) {
		return policy.PlanRequired
	}
	return Allowed
}

// including adds to names what they include, and what that includes.
func including(names []string, includes func(string) []string) (all []string) {
	for todo := slices.Clone(names); len(todo) > 0; todo = todo[1:] {
		if !slices.Contains(all, todo[0]) {
			all = append(all, todo[0])
			todo = append(todo, includes(todo[0])...)
		}
	}
	return all
}

// referenceRule finds the rule: of all paths that match the most specific, of its
// rules the one that names the method, else the one that names none.
func referenceRule(spec *v1alpha1.APIKeyPolicySpec, method, path string) *v1alpha1.Rule {
	best := ""
	rules := map[string][]*v1alpha1.Rule{}
	for i := range spec.Rules {
		rule := &spec.Rules[i]
		base := string(spec.BasePath)
		if rule.BasePath != "" {
			base = string(rule.BasePath)
		}
		for _, p := range rule.Paths {
			pattern := strings.TrimSuffix(base, "/") + string(p)
			kinds, matches := referenceMatch(pattern, path)
			if matches {
				rules[kinds] = append(rules[kinds], rule)
				best = max(best, kinds)
			}
		}
	}
	var byMethod, byNone *v1alpha1.Rule
	for _, rule := range rules[best] {
		switch {
		case rule.Methods == nil:
			byNone = rule
		case slices.Contains(rule.Methods, v1alpha1.Method(method)):
			byMethod = rule
		}
	}
	if byMethod != nil {
		return byMethod
	}
	return byNone
}

// referenceMatch matches segment by segment. kinds has a letter a segment, l for a
// literal, d for a name, and ends at {rest...} with b: the greater is more specific.
func referenceMatch(pattern, path string) (kinds string, matches bool) {
	given := strings.Split(path, "/")
	wanted := strings.Split(pattern, "/")
	for i, want := range wanted {
		if strings.HasSuffix(want, "...}") {
			return kinds + "b", len(given) >= i
		}
		if i >= len(given) {
			return "", false
		}
		got, err := url.PathUnescape(given[i])
		if err != nil {
			return "", false
		}
		literal, _ := url.PathUnescape(want)
		switch {
		case strings.HasPrefix(want, "{") && got != "":
			kinds += "d"
		case !strings.HasPrefix(want, "{") && got == literal:
			kinds += "l"
		default:
			return "", false
		}
	}
	return kinds, len(given) == len(wanted)
}
