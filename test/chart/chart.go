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
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// Configured are the objects of config/rbac, which are for the namespaces
// keygate-system and keygate-keys, with others in their place.
func Configured(tb testing.TB, system, keys string) Objects {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(Root(tb), "config", "rbac", "*.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	var all Objects
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		objects, err := decode(text)
		if err != nil {
			tb.Fatal(err)
		}
		for _, object := range objects {
			text, err := object.MarshalJSON() // in YAML, a name such as 7 would have to be quoted
			if err != nil {
				tb.Fatal(err)
			}
			if err := object.UnmarshalJSON([]byte(strings.NewReplacer(systemNamespace, system, keysNamespace, keys).Replace(string(text)))); err != nil {
				tb.Fatal(err)
			}
		}
		all = append(all, objects...)
	}
	if len(all) < 10 {
		tb.Fatalf("config/rbac has only %d objects", len(all))
	}
	return all
}

// CertsArgs are the arguments of cmd/certs in the Job keygate-certs-setup or the CronJob
// keygate-certs, as the chart renders them from args.
func CertsArgs(tb testing.TB, name string, args ...string) []string {
	tb.Helper()
	path := map[string][]string{"keygate-certs-setup": {"Job"}, "keygate-certs": {"CronJob", "spec", "jobTemplate"}}[name]
	object := Render(tb, args...).Find(path[0], name)
	if object == nil {
		tb.Fatalf("there is no %s %s", path[0], name)
	}
	containers, _, err := unstructured.NestedSlice(object.Object, append(path[1:], "spec", "template", "spec", "containers")...)
	if err != nil || len(containers) != 1 {
		tb.Fatalf("%s has %d containers, %v", name, len(containers), err)
	}
	found, _, err := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
	if err != nil {
		tb.Fatal(err)
	}
	return found
}
