package policy

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// problems are what keeps a policy from being compiled.
type problems struct{ found []error }

// add notes a problem of the field at, in a sentence that says what to do.
func (p *problems) add(at *field.Path, format string, args ...any) {
	p.found = append(p.found, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

// err is all problems joined, nil where there are none.
func (p *problems) err() error { return errors.Join(p.found...) }

// checkSize reports whether a list has no more than most entries, and notes it where
// it has.
func checkSize[T any](found *problems, at *field.Path, list []T, most int) bool {
	if len(list) > most {
		found.add(at, "there are %d entries, and %d at the most are possible: leave some out", len(list), most)
		return false
	}
	return true
}

// checkNames notes a list that is there but empty (which would be taken for one that
// is absent), is too long, or has something twice.
func checkNames[T comparable](found *problems, at *field.Path, list []T, most int) {
	if list != nil && len(list) == 0 {
		found.add(at, "the list is empty: leave it out, or fill it")
	}
	if !checkSize(found, at, list, most) {
		return
	}
	seen := make(map[T]bool, len(list))
	for i, v := range list {
		if seen[v] {
			found.add(at.Index(i), "%q is there twice: leave one out", fmt.Sprint(v))
		}
		seen[v] = true
	}
}

// texts is a list of names as plain strings.
func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}
