package view

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/cluster"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/lifetime"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/story"
	"keygate.dev/keygate/pkg/apikey"
)

// Describe writes all that there is to know of an APIKey, and what happened to it.
func Describe(out io.Writer, paint Paint, key *v1alpha1.APIKey, events []story.Entry, now time.Time) error {
	d := &description{paint: paint, now: now, tabs: tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)}
	d.summary(key)
	d.delivery(key)
	d.tokens(key)
	d.conditions(key)
	d.events(events)
	return d.tabs.Flush()
}

// description writes one.
type description struct {
	paint Paint
	now   time.Time
	tabs  *tabwriter.Writer
}

// field writes a line with a name and a value; nothing where there is no value. What
// people wrote is cleaned; colours are not part of columns that others follow.
func (d *description) field(name, value string) {
	if value != "" {
		fmt.Fprintf(d.tabs, "%s:\t%s\n", name, value)
	}
}

// end ends a part, so that the next one's columns are its own.
func (d *description) end() { _ = d.tabs.Flush() } // the last Flush tells what failed

// date is a time with how long it is from now.
func (d *description) date(t *metav1.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339) + " (" + lifetime.Say(&t.Time, d.now) + ")"
}

// summary writes what the key is.
func (d *description) summary(key *v1alpha1.APIKey) {
	state, colour := State(key)
	d.field("Name", key.Name)
	d.field("Namespace", key.Namespace)
	d.field("Display name", Clean(key.Spec.DisplayName))
	d.field("Description", Clean(key.Spec.Description))
	d.field("Policy", cluster.PolicyOf(key).String())
	d.field("State", d.paint.Word(colour, state))
	if ready := cluster.Ready(key); ready != nil && ready.Status != metav1.ConditionTrue {
		d.field("Because", Clean(ready.Message))
	}
	d.field("Environment", Clean(key.Status.Environment))
	d.field("Scopes", scopes(key.Status.Scopes))
	if missing := missing(key); len(missing) > 0 {
		d.field("Not granted", d.paint.Word(Bad, scopes(missing)))
	}
	d.field("Plan", orNone(key.Status.Plan))
	d.field("Allowed from", strings.Join(texts(key.Spec.AllowedCIDRs), ","))
	expires := "never"
	if end := ends(key); end != nil {
		expires = d.date(end)
	}
	d.field("Expires", expires)
	d.field("Last used", cmp.Or(d.date(key.Status.LastUsedAt), "never"))
	d.field("Created", d.date(&key.CreationTimestamp))
	if len(key.Spec.Metadata) > 0 {
		d.field("Metadata", pairs(key.Spec.Metadata))
	}
}

// missing are the scopes that are asked for and not in force, once something is.
func missing(key *v1alpha1.APIKey) []v1alpha1.ScopeName {
	if cluster.Ready(key) == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(key.Spec.Scopes), func(s v1alpha1.ScopeName) bool { return slices.Contains(key.Status.Scopes, s) })
}

// delivery writes how the token is handed over and replaced.
func (d *description) delivery(key *v1alpha1.APIKey) {
	switch {
	case key.Spec.SHA256 != "":
		d.field("Delivery", "none: the key was made elsewhere and registered by its SHA-256")
	case key.Spec.Delivery.Retain == v1alpha1.RetainKeep:
		d.field("Delivery", "the Secret "+cluster.SecretName(key)+", kept")
	default:
		d.field("Delivery", "the Secret "+cluster.SecretName(key)+", once")
	}
	if r := key.Spec.Rotation; r != nil {
		how := "when asked"
		if r.Every != nil {
			how = "every " + lifetime.SayLength(r.Every.Duration)
		}
		if r.Overlap != nil {
			how += ", the old token works on for " + lifetime.SayLength(r.Overlap.Duration)
		}
		d.field("Rotation", how)
	}
	d.field("Next rotation", d.date(key.Status.NextRotationAt))
	d.end()
}

// tokens writes the tokens, the newest first.
func (d *description) tokens(key *v1alpha1.APIKey) {
	fmt.Fprintln(d.tabs, "Tokens:")
	if len(key.Status.Keys) == 0 {
		fmt.Fprintln(d.tabs, "  "+none)
		d.end()
		return
	}
	tokens := slices.SortedFunc(slices.Values(key.Status.Keys), func(a, b v1alpha1.IssuedKey) int { return int(b.Serial - a.Serial) })
	fmt.Fprintln(d.tabs, "  SERIAL\tKEY ID\tHINT\tISSUED\tENDS\tLAST USED\tSTATE")
	for _, token := range tokens {
		var used *time.Time
		if at, ok := key.Status.Usage[token.ID]; ok {
			used = &at.Time
		}
		state, colour := d.tokenState(token)
		fmt.Fprintf(d.tabs, "  %d\t%s\t%s\t%s\t%s\t%s\t%s\n", token.Serial, orNone(token.ID), orNone(token.Hint),
			lifetime.Say(timeOf(token.IssuedAt), d.now), lifetime.Say(timeOf(token.ExpiresAt), d.now), lifetime.Say(used, d.now), d.paint.Word(colour, state))
	}
	d.end()
}

// tokenState is how a token is in one word.
func (d *description) tokenState(token v1alpha1.IssuedKey) (string, Colour) {
	active := token.State == string(apikey.Active)
	switch {
	case active && token.ExpiresAt != nil && !token.ExpiresAt.After(d.now):
		return "Ended", Bad
	case active:
		return token.State, Good
	case token.State == string(apikey.Suspended), token.State == string(apikey.Pending):
		return token.State, Look
	}
	return orNone(token.State), Bad
}

// conditions writes the conditions.
func (d *description) conditions(key *v1alpha1.APIKey) {
	fmt.Fprintln(d.tabs, "Conditions:")
	if len(key.Status.Conditions) == 0 {
		fmt.Fprintln(d.tabs, "  "+none)
		d.end()
		return
	}
	fmt.Fprintln(d.tabs, "  TYPE\tSTATUS\tREASON\tSINCE\tMESSAGE")
	for _, c := range key.Status.Conditions {
		fmt.Fprintf(d.tabs, "  %s\t%s\t%s\t%s\t%s\n", c.Type, c.Status, c.Reason, lifetime.Say(&c.LastTransitionTime.Time, d.now), Clean(c.Message))
	}
	d.end()
}

// events writes what happened.
func (d *description) events(events []story.Entry) {
	fmt.Fprintln(d.tabs, "Events:")
	if len(events) == 0 {
		fmt.Fprintln(d.tabs, "  "+none)
		return
	}
	fmt.Fprintln(d.tabs, "  WHEN\tWHAT\tNOTE")
	for _, e := range events {
		fmt.Fprintf(d.tabs, "  %s\t%s\t%s\n", lifetime.Say(&e.Time, d.now), Clean(e.What), Clean(e.Note))
	}
}

// texts are names as plain strings.
func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

// pairs are entries as name=value, by name.
func pairs(m map[string]v1alpha1.MetadataValue) string {
	var out []string
	for name, value := range m {
		out = append(out, Clean(name)+"="+Clean(string(value)))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
