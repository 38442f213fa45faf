// Package chart tests the Helm chart: what it renders with every switch, that it
// grants what config/rbac grants and no more, and that a real API server takes it,
// installs it, upgrades it and is left with what uninstalling is said to leave.
package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"

	"keygate.dev/keygate/hack/testbin"
)

// The namespaces of the manifests in config/rbac.
const (
	systemNamespace = "keygate-system"
	keysNamespace   = "keygate-keys"
)

// Root is the directory of the module.
func Root(tb testing.TB) string {
	tb.Helper()
	root, err := testbin.ModuleRoot()
	if err != nil {
		tb.Fatal(err)
	}
	return root
}

// Path is that of a file of the chart; without a name, that of the chart.
func Path(tb testing.TB, name ...string) string {
	tb.Helper()
	return filepath.Join(append([]string{Root(tb), "charts", "keygate"}, name...)...)
}

// Helm runs Helm and returns what it writes to standard output. The error ends with
// what it writes to standard error.
func Helm(tb testing.TB, args ...string) (string, error) {
	tb.Helper()
	helm, err := testbin.Helm(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return run(tb.Context(), helm, args...)
}

func run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, stderr.String())
	}
	return string(out), err
}

// Objects are what a rendering has.
type Objects []*unstructured.Unstructured

// Render returns what the chart makes of values, as arguments of helm template. The
// release is named keygate and is in keygate-system unless the arguments say else.
func Render(tb testing.TB, args ...string) Objects {
	tb.Helper()
	out, err := Helm(tb, append([]string{"template", "keygate", Path(tb), "--namespace=" + systemNamespace}, args...)...)
	if err != nil {
		tb.Fatal(err)
	}
	objects, err := decode([]byte(out))
	if err != nil {
		tb.Fatal(err)
	}
	return objects
}

// decode reads every document of a manifest.
func decode(manifest []byte) (Objects, error) {
	var objects Objects
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(manifest), 4096); ; {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(&object.Object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, err
		case len(object.Object) > 0: // not a document of comments only
			objects = append(objects, object)
		}
	}
}

// Find returns the object of a kind and name, in any namespace, or nil.
func (o Objects) Find(kind, name string) *unstructured.Unstructured {
	for _, object := range o {
		if object.GetKind() == kind && object.GetName() == name {
			return object
		}
	}
	return nil
}

// into fills a typed object with the one of a kind and name, which must be there.
func (o Objects) into(tb testing.TB, kind, name string, typed any) {
	tb.Helper()
	object := o.Find(kind, name)
	if object == nil {
		tb.Fatalf("there is no %s %s", kind, name)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, typed, true); err != nil {
		tb.Fatalf("%s %s: %v", kind, name, err)
	}
}
