// Package route makes requests that a policy's rules decide: to show how a key is used,
// and to ask about one.
package route

import (
	"regexp"
	"strings"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/policy"
)

// Sample is a request that a rule decides.
type Sample struct {
	// Method and Path of the request.
	Method, Path string
	// Plain: the path is as the rule has it, nothing in it was made up.
	Plain bool
	// Spec is the rule as it was written, the number Rule of the policy from 0.
	Spec *v1alpha1.Rule
	Rule int
	// Compiled is the same rule.
	Compiled *policy.Rule
}

// anyMethods are tried where a rule names no method: one that no other rule of the same
// path names is decided by it.
var anyMethods = []string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"}

// Samples are requests that the rules of a policy decide, each rule's first path with
// each of its methods; spec is what p was compiled from. A rule all of whose requests a
// more specific one decides has none.
func Samples(spec *v1alpha1.APIKeyPolicySpec, p *policy.Policy) []Sample {
	var out []Sample
	for i := range spec.Rules {
		rule := &spec.Rules[i]
		for _, pattern := range rule.Paths {
			found := samplesOf(spec, p, i, rule, pattern)
			out = append(out, found...)
			if len(found) > 0 {
				break
			}
		}
	}
	return out
}

// samplesOf are requests for one of a rule's paths.
func samplesOf(spec *v1alpha1.APIKeyPolicySpec, p *policy.Policy, index int, rule *v1alpha1.Rule, pattern v1alpha1.PathPattern) []Sample {
	methods := anyMethods
	if len(rule.Methods) > 0 {
		methods = nil
		for _, m := range rule.Methods {
			methods = append(methods, string(m))
		}
	}
	full := FullPattern(spec, rule, pattern)
	for _, path := range fill(full) {
		var out []Sample
		for _, method := range methods {
			compiled := p.Match(method, path)
			if compiled == nil || compiled.Index != index {
				continue
			}
			out = append(out, Sample{Method: method, Path: path, Plain: path == full, Spec: rule, Rule: index, Compiled: compiled})
			if len(rule.Methods) == 0 {
				break
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// FullPattern is a path of a rule below its base path, as callers see it.
func FullPattern(spec *v1alpha1.APIKeyPolicySpec, rule *v1alpha1.Rule, pattern v1alpha1.PathPattern) string {
	base := spec.BasePath
	if rule.BasePath != "" {
		base = rule.BasePath
	}
	return strings.TrimSuffix(string(base), "/") + string(pattern)
}

var (
	restSegments = regexp.MustCompile(`/\{[^}]*\.\.\.\}$`)
	anySegment   = regexp.MustCompile(`\{[^}]*\}`)
)

// madeUp stands for whatever {name} stands for.
const madeUp = "1"

// fill makes paths of a pattern: with nothing for {rest...}, then with something.
func fill(pattern string) []string {
	short := restSegments.ReplaceAllString(pattern, "")
	paths := []string{anySegment.ReplaceAllString(short, madeUp)}
	if short == "" {
		paths[0] = "/"
	}
	if short != pattern {
		paths = append(paths, anySegment.ReplaceAllString(short, madeUp)+"/"+madeUp)
	}
	return paths
}
