package v1alpha1_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"keygate.dev/keygate/test/apiserver"
)

// TestSamplesAreAccepted creates what every sample holds, with strict validation.
func TestSamplesAreAccepted(t *testing.T) {
	files, err := filepath.Glob("../../config/samples/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d samples: %v", len(files), err)
	}
	c, err := dynamic.NewForConfig(apiserver.Start(t).Config)
	if err != nil {
		t.Fatal(err)
	}
	resources := map[string]string{"Namespace": "namespaces", "APIKeyPolicy": "apikeypolicies", "APIKey": "apikeys"}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range strings.Split(string(data), "\n---\n") {
			u := object(t, document)
			version, err := schema.ParseGroupVersion(u.GetAPIVersion())
			if err != nil {
				t.Fatal(err)
			}
			client := c.Resource(version.WithResource(resources[u.GetKind()])).Namespace(u.GetNamespace())
			_, err = client.Create(t.Context(), u, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict, DryRun: dryRun(u.GetKind())})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				t.Errorf("%s: %v", filepath.Base(file), err)
			}
		}
	}
}

// dryRun creates nothing but namespaces, which the others need.
func dryRun(kind string) []string {
	if kind == "Namespace" {
		return nil
	}
	return []string{metav1.DryRunAll}
}
