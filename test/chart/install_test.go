package chart

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/test/apiserver"
)

// release is a release of the chart on an API server of its own. There is no kubelet:
// hooks are not run, and nothing is waited for.
type release struct {
	client     client.Client
	kubeconfig string
}

// otherKeys is the keys namespace of the release: the test API server has the usual
// one already, which is not Helm's.
const otherKeys = "keys-of-the-release"

func (r *release) helm(t *testing.T, args ...string) {
	t.Helper()
	if args[0] != "uninstall" {
		args = append(args, "--set=keysNamespace.name="+otherKeys)
	}
	if _, err := Helm(t, append(args, "--kubeconfig="+r.kubeconfig, "--namespace="+systemNamespace, "--no-hooks")...); err != nil {
		t.Fatal(err)
	}
}

// there reports whether an object is there, and not about to go.
func (r *release) there(t *testing.T, object client.Object, namespace, name string) bool {
	t.Helper()
	err := r.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, object)
	if err != nil && !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
		t.Fatal(err)
	}
	return err == nil && object.GetDeletionTimestamp() == nil
}

// newKey makes a policy and a key of it, as a user of the release would, and what the
// controller would have made: the root Secret and a record.
func (r *release) newKey(t *testing.T) {
	t.Helper()
	policy := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "keygate.dev/v1alpha1", "kind": "APIKeyPolicy", "metadata": map[string]any{"name": "kept", "namespace": "default"},
		"spec": map[string]any{
			"environments": []any{map[string]any{"name": "live", "prefix": "kept_"}},
			"rules":        []any{map[string]any{"paths": []any{"/"}, "anyKey": true}},
		},
	}}
	for _, object := range []client.Object{policy,
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "keygate-root"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: otherKeys, Name: "record"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "keygate-ca"}},
	} {
		if err := r.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// isKept fails unless everything that keys depend on is there.
func (r *release) isKept(t *testing.T) {
	t.Helper()
	policy := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "keygate.dev/v1alpha1", "kind": "APIKeyPolicy"}}
	for what, there := range map[string]bool{
		"the CRD":                   r.there(t, &apiextensionsv1.CustomResourceDefinition{}, "", "apikeys.keygate.dev"),
		"the policy":                r.there(t, policy, "default", "kept"),
		"the keys namespace":        r.there(t, &corev1.Namespace{}, "", otherKeys),
		"a record":                  r.there(t, &corev1.Secret{}, otherKeys, "record"),
		"the root Secret":           r.there(t, &corev1.Secret{}, systemNamespace, "keygate-root"),
		"the certificate authority": r.there(t, &corev1.Secret{}, systemNamespace, "keygate-ca"),
	} {
		if !there {
			t.Errorf("%s is gone", what)
		}
	}
}

// clear takes away what the test API server starts with.
func (r *release) clear(t *testing.T) {
	t.Helper()
	for _, object := range Render(t) {
		if object.GetAnnotations()["helm.sh/hook"] != "" || object.GetKind() == "Namespace" {
			continue
		}
		if err := client.IgnoreNotFound(r.client.Delete(t.Context(), object)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"apikeys.keygate.dev", "apikeypolicies.keygate.dev"} {
		r.awaitGone(t, name)
	}
}

// awaitGone waits until a CRD is gone.
func (r *release) awaitGone(t *testing.T, name string) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), pollEvery, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := r.client.Get(ctx, client.ObjectKey{Name: name}, &apiextensionsv1.CustomResourceDefinition{})
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if err != nil {
		t.Fatalf("wait until the CRD %s is gone: %v", name, err)
	}
}

// runs reports whether the release is installed: all of its own objects are there, or
// none. Anything in between is an error.
func (r *release) runs(t *testing.T) bool {
	t.Helper()
	count := 0
	objects := Render(t, "--set=keysNamespace.name="+otherKeys)
	for _, object := range objects {
		hook := object.GetAnnotations()["helm.sh/hook"] != ""
		kept := object.GetKind() == "CustomResourceDefinition" || object.GetKind() == "Namespace"
		if !hook && !kept && r.there(t, object.DeepCopy(), object.GetNamespace(), object.GetName()) {
			count++
		} else if hook || kept {
			count++
			if !kept && r.there(t, object.DeepCopy(), object.GetNamespace(), object.GetName()) {
				t.Errorf("%s is there, but hooks were not run", id(object))
			}
		}
	}
	return count == len(objects)
}

// TestInstall: a release is installed, upgraded, CRDs too, uninstalled, and installed
// again over what was left.
func TestInstall(t *testing.T) {
	server := apiserver.StartOwn(t)
	r := &release{newClient(t, server.Config), kubeconfig(t, server.Config)}
	r.clear(t)
	r.helm(t, "install", "keygate", Path(t))
	if !r.runs(t) {
		t.Fatal("the release is not installed as a whole")
	}
	awaitEstablished(t, r.client, "apikeypolicies.keygate.dev")
	r.newKey(t)

	changed := changedChart(t)
	r.helm(t, "upgrade", "keygate", changed, "--set=extauthz.replicas=5", "--set=image.tag=next")
	var d appsv1.Deployment
	if !r.there(t, &d, systemNamespace, "keygate-extauthz") || *d.Spec.Replicas != 5 || !strings.HasSuffix(d.Spec.Template.Spec.Containers[0].Image, ":next") {
		t.Errorf("after the upgrade: %+v", d.Spec)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if !r.there(t, &crd, "", "apikeys.keygate.dev") || !strings.Contains(crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Description, upgraded) {
		t.Error("the CRD was not upgraded")
	}
	r.isKept(t)
	r.isScaled(t)

	r.helm(t, "uninstall", "keygate")
	if r.there(t, &d, systemNamespace, "keygate-extauthz") || r.there(t, &corev1.ServiceAccount{}, systemNamespace, "keygate-controller") {
		t.Error("the release is still there")
	}
	r.isKept(t)

	r.helm(t, "install", "keygate", Path(t))
	if !r.runs(t) {
		t.Error("the release is not installed again as a whole")
	}
	r.isKept(t)

	r.helm(t, "upgrade", "keygate", Path(t), "--set=crds.keep=false")
	r.helm(t, "uninstall", "keygate")
	r.awaitGone(t, "apikeys.keygate.dev")
	if !r.there(t, &corev1.Secret{}, otherKeys, "record") {
		t.Error("a record is gone")
	}
}

// isScaled turns autoscaling on in a release of five replicas. They stay until the
// autoscaler acts; from then on no upgrade and no rollback says anything of replicas.
func (r *release) isScaled(t *testing.T) {
	t.Helper()
	has := func(want int32, when string) *appsv1.Deployment {
		t.Helper()
		d := &appsv1.Deployment{}
		if !r.there(t, d, systemNamespace, "keygate-extauthz") || *d.Spec.Replicas != want {
			t.Errorf("%s there are %d replicas, not %d", when, *d.Spec.Replicas, want)
		}
		return d
	}
	scale := func(replicas int32) {
		t.Helper()
		to := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
		d := has(replicas-1, "before the autoscaler acts")
		if err := r.client.SubResource("scale").Update(t.Context(), d, client.WithSubResourceBody(to), client.FieldOwner("kube-controller-manager")); err != nil {
			t.Fatal(err)
		}
	}
	const on = "--set=extauthz.autoscaling.enabled=true"
	r.helm(t, "upgrade", "keygate", Path(t), on)
	scale(6)
	r.helm(t, "upgrade", "keygate", Path(t), on, "--set=extauthz.podLabels.a=b")
	has(6, "after an upgrade")
	scale(7)
	r.helm(t, "upgrade", "keygate", Path(t), on, "--set=extauthz.podLabels.a=c")
	scale(8)
	if _, err := Helm(t, "rollback", "keygate", "--kubeconfig="+r.kubeconfig, "--namespace="+systemNamespace, "--no-hooks"); err != nil {
		t.Fatal(err)
	}
	if d := has(8, "after a rollback"); d.Spec.Template.Labels["a"] != "b" {
		t.Errorf("after a rollback the pods have %v", d.Spec.Template.Labels)
	}
}

// upgraded is a description that the next version's CRD has.
const upgraded = "of the next version"

// changedChart is a copy of the chart with another CRD.
func changedChart(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keygate")
	if err := os.CopyFS(dir, os.DirFS(Path(t))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "templates", "derived", "crd-keygate.dev_apikeys.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const description = "openAPIV3Schema:\n        description: |-\n"
	changed := strings.Replace(string(text), description, description+"          "+upgraded+"\n", 1)
	if changed == string(text) {
		t.Fatal("the CRD has no description")
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestLint: Helm has nothing to say against the chart.
func TestLint(t *testing.T) {
	out, err := Helm(t, "lint", "--strict", Path(t))
	if err != nil || strings.Contains(out, "WARNING") {
		t.Errorf("%v\n%s", err, out)
	}
}
