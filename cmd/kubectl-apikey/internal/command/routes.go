package command

import (
	"fmt"
	"io"
	"strings"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/checker"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/route"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/view"
)

// tellRoutes lists what a key may reach, and what it may not.
func (o *verify) tellRoutes(out io.Writer, of *candidate, a *checker.Answer) {
	may := route.Key{Environment: a.Environment, Plan: a.Plan, Scopes: a.Scopes}
	var can, not []string
	spec := &of.source.Spec
	seen := map[int]bool{}
	for _, sample := range of.samples {
		if seen[sample.Rule] {
			continue
		}
		seen[sample.Rule] = true
		line := fmt.Sprintf("  %s\t%s\t%s", methodsOf(sample.Spec), pathsOf(spec, sample.Spec), asks(sample.Spec))
		if route.Permits(of.compiled, sample.Compiled, may) {
			can = append(can, line)
		} else {
			not = append(not, line)
		}
	}
	for _, part := range []struct {
		title  string
		colour view.Colour
		lines  []string
	}{{"May reach", view.Good, can}, {"May not reach", view.Bad, not}} {
		if len(part.lines) > 0 {
			fmt.Fprintf(out, "%s:\n%s\n", o.paint.Word(part.colour, part.title), strings.Join(part.lines, "\n"))
		}
	}
}

// methodsOf are those of a rule.
func methodsOf(rule *v1alpha1.Rule) string {
	if len(rule.Methods) == 0 {
		return "any"
	}
	return join(rule.Methods, ",")
}

// pathsOf are those of a rule, as callers see them.
func pathsOf(spec *v1alpha1.APIKeyPolicySpec, rule *v1alpha1.Rule) string {
	var out []string
	for _, path := range rule.Paths {
		out = append(out, route.FullPattern(spec, rule, path))
	}
	return strings.Join(out, " ")
}

// asks is what a rule asks of a key, in words.
func asks(rule *v1alpha1.Rule) string {
	var words string
	switch {
	case rule.Anonymous:
		return "anybody"
	case rule.AnyKey:
		words = "any key"
	case len(rule.AnyScope) > 0:
		words = "one of " + join(rule.AnyScope, ",")
	default:
		words = join(rule.Scopes, ",")
	}
	if rule.Plan != "" {
		words += ", plan " + string(rule.Plan)
	}
	return words
}

// join joins names.
func join[T ~string](list []T, by string) string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return strings.Join(out, by)
}
