package v1alpha1_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/api/v1alpha1"
)

// TestStatusStaysDecodable writes, as one who may write status can, what a lax
// schema would let through: whatever the API server takes must decode into the
// typed status, or one forger would stop every informer.
func TestStatusStaysDecodable(t *testing.T) {
	c := client(t, "apikeys")
	there, err := c.Create(t.Context(), object(t, goodKey), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const condition = `{"type":"Ready","status":"True","reason":"Active","message":"","lastTransitionTime":"2027-01-01T00:00:00Z"}`
	for name, tc := range map[string]struct {
		status  string
		refused bool
	}{
		"good":                         {`{"expiresAt":"2027-01-01T00:00:00Z","conditions":[` + condition + `]}`, false},
		"a lower-case time":            {`{"expiresAt":"2027-01-01t00:00:00z"}`, true},
		"a lower-case issue time":      {`{"keys":[{"id":"a","issuedAt":"2027-01-01t00:00:00z"}]}`, true},
		"a lower-case transition time": {`{"conditions":[` + strings.Replace(condition, "T00:00:00Z", "t00:00:00z", 1) + `]}`, true},
		"a large generation":           {`{"observedGeneration":1e30}`, true},
		"a generation with a fraction": {`{"observedGeneration":1.5}`, true},
		"a large serial":               {`{"keys":[{"id":"a","serial":1e19}]}`, true},
		"a time that is a number":      {`{"expiresAt":5}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			next := there.DeepCopy()
			var status map[string]any
			if err := json.Unmarshal([]byte(tc.status), &status); err != nil {
				t.Fatal(err)
			}
			next.Object["status"] = status
			got, err := c.UpdateStatus(t.Context(), next, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
			if (err != nil) != tc.refused {
				t.Fatalf("got %v, want refused: %v", err, tc.refused)
			}
			if err != nil {
				return
			}
			data, err := got.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, &v1alpha1.APIKey{}); err != nil {
				t.Errorf("accepted, and not decodable: %v", err)
			}
		})
	}
}

// TestCRDsBoundWhatDecodes walks the generated schemas: each time has a pattern,
// each 32-bit integer a maximum, each field a description.
func TestCRDsBoundWhatDecodes(t *testing.T) {
	files, err := filepath.Glob("../../config/crd/*.yaml")
	if err != nil || len(files) != 2 {
		t.Fatalf("%d CRDs: %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd map[string]any
		if err := yaml.Unmarshal(data, &crd); err != nil {
			t.Fatal(err)
		}
		walk(t, filepath.Base(file), crd)
	}
}

// walk looks at every schema below node.
func walk(t *testing.T, path string, node any) {
	switch node := node.(type) {
	case map[string]any:
		if node["format"] == "date-time" && node["type"] == "string" && node["pattern"] == nil {
			t.Errorf("%s: a time without a pattern", path)
		}
		if node["format"] == "int32" && node["maximum"] == nil {
			t.Errorf("%s: a 32-bit integer without a maximum", path)
		}
		if properties, ok := node["properties"].(map[string]any); ok {
			for name, property := range properties {
				if schema, ok := property.(map[string]any); ok && schema["description"] == nil && name != "metadata" {
					t.Errorf("%s.%s has no description", path, name)
				}
			}
		}
		for name, child := range node {
			walk(t, path+"."+name, child)
		}
	case []any:
		for _, child := range node {
			walk(t, path, child)
		}
	}
}
