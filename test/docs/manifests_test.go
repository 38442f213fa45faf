package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// TestIstioManifestsApart: who applies one of them after another takes nothing away that
// the first has set up: an object that two have is the same in both.
func TestIstioManifestsApart(t *testing.T) {
	files, err := filepath.Glob("../../config/gateways/istio-*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	first := map[string]*unstructured.Unstructured{}
	for _, file := range files {
		manifest, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for doc := range strings.SplitSeq(string(manifest), "\n---\n") {
			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(doc), &object.Object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if object.GetKind() == "" {
				continue // values of istiod's chart
			}
			id := strings.Join([]string{object.GetKind(), object.GetNamespace(), object.GetName()}, " ")
			if other := first[id]; other != nil {
				if diff := cmp.Diff(other, object); diff != "" {
					t.Errorf("%s has another %s:\n%s", filepath.Base(file), id, diff)
				}
			}
			first[id] = object
		}
	}
	if len(first) < 6 {
		t.Errorf("only %d objects", len(first))
	}
}
