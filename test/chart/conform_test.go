package chart

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"keygate.dev/keygate/hack/testbin"
)

// TestConforms: with every switch, kubeconform finds nothing that the API server's
// own OpenAPI document does not have.
func TestConforms(t *testing.T) {
	schemas := openAPISchemas(t, startWithForeignCRDs(t).Config)
	for name, args := range switches {
		t.Run(name, func(t *testing.T) {
			out, err := conform(t, schemas, Render(t, args...))
			if err != nil || !strings.Contains(out, "Invalid: 0, Errors: 0, Skipped: 0") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	t.Run("a field that is not there is found", func(t *testing.T) {
		objects := Render(t)
		objects.Find("Service", "keygate-extauthz").Object["spec"].(map[string]any)["typo"] = true
		if out, err := conform(t, schemas, objects); err == nil || !strings.Contains(out, "typo") {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

func conform(t *testing.T, schemas string, objects Objects) (string, error) {
	t.Helper()
	kubeconform, err := testbin.Kubeconform(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i, object := range objects {
		text, err := object.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.json", i)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return run(t.Context(), kubeconform, "-strict", "-summary", "-schema-location",
		filepath.Join(schemas, "{{.Group}}_{{.ResourceAPIVersion}}_{{.ResourceKind}}.json"), dir)
}

// openAPISchemas writes a JSON schema for each kind that an API server has, under the
// names that kubeconform is told above, and returns the directory.
func openAPISchemas(t *testing.T, config *rest.Config) string {
	t.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	paths, err := client.OpenAPIV3().Paths()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for path, document := range paths {
		if !strings.HasPrefix(path, "api") {
			continue // not of objects
		}
		text, err := document.Schema("application/json")
		if err != nil {
			t.Fatal(err)
		}
		writeSchemas(t, dir, text)
	}
	return dir
}

// writeSchemas writes those of one group and version.
func writeSchemas(t *testing.T, dir string, text []byte) {
	t.Helper()
	var document struct {
		Components struct {
			Schemas map[string]map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	for _, schema := range document.Components.Schemas {
		closeSchema(schema)
	}
	for name, schema := range document.Components.Schemas {
		kinds, _ := schema["x-kubernetes-group-version-kind"].([]any)
		if len(kinds) != 1 {
			continue // not an object's, or one that every group has
		}
		kind, _ := kinds[0].(map[string]any)
		file := strings.ToLower(fmt.Sprintf("%s_%s_%s.json", orVersion(kind), kind["version"], kind["kind"]))
		schema, err := json.Marshal(map[string]any{"$ref": "#/components/schemas/" + name, "components": document.Components})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), schema, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// orVersion is what kubeconform calls the group of a kind: that of the core group is
// the version.
func orVersion(kind map[string]any) any {
	if kind["group"] == "" {
		return kind["version"]
	}
	return kind["group"]
}

// closeSchema refuses members that a schema does not name, all the way down.
func closeSchema(schema map[string]any) {
	properties, named := schema["properties"].(map[string]any)
	_, open := schema["additionalProperties"]
	if named && !open && schema["x-kubernetes-preserve-unknown-fields"] != true {
		schema["additionalProperties"] = false
	}
	for _, property := range properties {
		if inner, ok := property.(map[string]any); ok {
			closeSchema(inner)
		}
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if inner, ok := schema[key].(map[string]any); ok {
			closeSchema(inner)
		}
	}
}
