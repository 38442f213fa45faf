package apiserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/hack/testbin"
)

// fieldManager owns what the harness applies, as an operator's kubectl would.
const fieldManager = "kubectl"

const pollEvery = 50 * time.Millisecond

// install applies config/crd and config/rbac of the tree that is tested and
// returns when they are in force.
func (p *plane) install(ctx context.Context) error {
	root, err := testbin.ModuleRoot()
	if err != nil {
		return err
	}
	api, err := client.New(p.admin, client.Options{})
	if err != nil {
		return err
	}
	var objects []*unstructured.Unstructured
	for _, dir := range []string{"crd", "rbac"} {
		read, err := readManifests(filepath.Join(root, "config", dir))
		if err != nil {
			return err
		}
		objects = append(objects, read...)
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return rank(a) - rank(b) })
	for _, object := range objects {
		if err := api.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return p.waitInForce(ctx, api, objects)
}

// rank orders kinds: what others need comes first.
func rank(object *unstructured.Unstructured) int {
	switch object.GetKind() {
	case "CustomResourceDefinition":
		return 0
	case "Namespace":
		return 1
	default:
		return 2
	}
}

// readManifests returns every document of the *.yaml files in dir, in the order of
// file names.
func readManifests(dir string) ([]*unstructured.Unstructured, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	for _, path := range files {
		read, err := readManifest(path)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		objects = append(objects, read...)
	}
	return objects, nil
}

func readManifest(path string) ([]*unstructured.Unstructured, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var objects []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(file, 4096); ; {
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

// waitInForce waits until the API server serves the CRDs and enforces the
// admission policies: both follow their objects with a delay.
func (p *plane) waitInForce(ctx context.Context, api client.Client, objects []*unstructured.Unstructured) error {
	fenced := false
	for _, object := range objects {
		switch object.GetKind() {
		case "CustomResourceDefinition":
			if err := waitEstablished(ctx, api, object); err != nil {
				return fmt.Errorf("wait for CRD %s: %w", object.GetName(), err)
			}
		case "ValidatingAdmissionPolicyBinding":
			fenced = true
		}
	}
	if !fenced {
		return nil
	}
	return p.waitFenced(ctx)
}

func waitEstablished(ctx context.Context, api client.Client, crd *unstructured.Unstructured) error {
	return wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		if err := api.Get(ctx, client.ObjectKeyFromObject(crd), crd); err != nil {
			return false, err
		}
		conditions, _, err := unstructured.NestedSlice(crd.Object, "status", "conditions")
		return slices.ContainsFunc(conditions, func(condition any) bool {
			fields, _ := condition.(map[string]any)
			return fields["type"] == "Established" && fields["status"] == "True"
		}), err
	})
}

// waitFenced waits until the controller is refused a Secret that no component may
// write: a plain one in a tenant's namespace.
func (p *plane) waitFenced(ctx context.Context) error {
	config, err := p.serviceAccount(ctx, systemNamespace, controllerAccount)
	if err != nil {
		return err
	}
	controller, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "is-the-fence-up"}}
	err = wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		_, err := controller.CoreV1().Secrets(metav1.NamespaceDefault).Create(ctx, secret, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
			return true, nil
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("wait until the admission policies refuse the controller a foreign Secret: %w", err)
	}
	return nil
}
