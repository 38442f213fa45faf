package rights

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/test/chart"
)

// row finds the account, the place, the resources and the verbs in a table's row.
var row = regexp.MustCompile("(?m)^\\| `(keygate-[a-z-]+)` \\| `?([a-z-]+)`? \\| ([^|]+) \\| ([a-z, ]+) \\| [^|]{5,} \\|$")

// resource finds one, and the name that it may have.
var resource = regexp.MustCompile("`([^`]+)`(?: `([^`]+)`)?")

// told are the rights that docs/rights.md has.
func told(t *testing.T) (all []string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(chart.Root(t), "docs", "rights.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range row.FindAllStringSubmatch(string(page), -1) {
		namespace := strings.Replace(match[2], "everywhere", "", 1)
		for _, r := range resource.FindAllStringSubmatch(match[3], -1) {
			name, sub, found := strings.Cut(r[1], "/")
			plural, group, _ := strings.Cut(name, ".")
			if found {
				plural += "/" + sub
			}
			for verb := range strings.SplitSeq(match[4], ", ") {
				all = append(all, Grant{"keygate-system:" + match[1], namespace, group, plural, r[2], verb}.String())
			}
		}
	}
	slices.Sort(all)
	return all
}

// TestRightsAreTold: docs/rights.md has each right of the roles that ship, once, and no
// other.
func TestRightsAreTold(t *testing.T) {
	objects := chart.Configured(t, "keygate-system", "keygate-keys")
	for _, template := range []string{"certificates.yaml", "selftest.yaml"} {
		objects = append(objects, chart.Render(t, "--show-only=templates/"+template)...)
	}
	grants, err := Grants(objects)
	if err != nil {
		t.Fatal(err)
	}
	var granted []string
	for _, grant := range grants {
		granted = append(granted, grant.String())
	}
	slices.Sort(granted)
	if diff := cmp.Diff(granted, told(t)); diff != "" {
		t.Errorf("granted (-), told (+):\n%s", diff)
	}
}

// TestUnused: a right that holds everywhere is not needed by a call that a narrower one
// allows, and an apply that makes the object needs the right to create.
func TestUnused(t *testing.T) {
	log := filepath.Join(t.TempDir(), "audit.log")
	text := `{"verb":"patch","user":{"username":"system:serviceaccount:a:b"},"objectRef":{"resource":"secrets","namespace":"n","name":"x"},"responseStatus":{"code":201},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"verb":"list","user":{"username":"system:serviceaccount:a:b"},"objectRef":{"resource":"secrets"},"annotations":{"authorization.k8s.io/decision":"forbid"}}
{"verb":"get","user":{"username":"system:serviceaccount:a:other"},"objectRef":{"resource":"secrets"}}
{"verb":"get","user":{"username":"admin"},"requestURI":"/version"}
{"verb":"get","user":{"username":"system:serviceaccount:a:b"},"objectRef":{"apiGroup":"g","resource":"things","subresource":"status","namespace":"n"}}
{"verb":"cut sho`
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	calls, err := Read(log)
	if err != nil {
		t.Fatal(err)
	}
	grants := []Grant{
		{"a:b", "", "", "secrets", "", "patch"}, {"a:b", "", "", "secrets", "", "create"}, {"a:b", "n", "", "secrets", "", "create"}, {"a:b", "n", "", "secrets", "y", "patch"},
	}
	if diff := cmp.Diff([]Grant{grants[1], grants[3]}, Unused(grants, calls)); diff != "" {
		t.Errorf("unused:\n%s", diff)
	}
	want := []Call{
		{Account: "a:b", Verb: "list", Resource: "secrets", Refused: true},
		{Account: "a:b", Verb: "get", Group: "g", Resource: "things/status", Namespace: "n"},
	}
	if diff := cmp.Diff(want, Exceeding(grants, calls)); diff != "" {
		t.Errorf("exceeding:\n%s", diff)
	}
}

// TestBodies: a log that holds what was sent is refused, whatever else it says.
func TestBodies(t *testing.T) {
	log := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(log, []byte(`{"verb":"create","requestObject":{"kind":"Secret"}}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(log); err == nil {
		t.Error("it was read")
	}
}
