package rig

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/api/v1alpha1"
)

// Patience bounds every wait in these tests.
const Patience = 60 * time.Second

// fieldManager owns what tests apply.
const fieldManager = "e2e"

// Cluster is an API server on which Keygate's API is installed.
type Cluster struct {
	// Config authenticates as the cluster's admin.
	Config  *rest.Config
	Kube    *kubernetes.Clientset
	Dynamic *dynamic.DynamicClient
}

// NewCluster makes the clients of an API server.
func NewCluster(config *rest.Config) (*Cluster, error) {
	c := &Cluster{Config: config}
	c.Config.QPS, c.Config.Burst = -1, 0
	var err error
	if c.Kube, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	c.Dynamic, err = dynamic.NewForConfig(config)
	return c, err
}

// Keys is the client for APIKeys.
func (c *Cluster) Keys(namespace string) dynamic.ResourceInterface {
	return c.Dynamic.Resource(v1alpha1.GroupVersion.WithResource("apikeys")).Namespace(namespace)
}

// Policies is the client for APIKeyPolicies.
func (c *Cluster) Policies(namespace string) dynamic.ResourceInterface {
	return c.Dynamic.Resource(v1alpha1.GroupVersion.WithResource("apikeypolicies")).Namespace(namespace)
}

// Object makes an object of Keygate's API from the YAML of its spec.
func Object(tb testing.TB, kind, name, spec string) *unstructured.Unstructured {
	tb.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{}}
	if err := yaml.Unmarshal([]byte("spec:\n"+indent(spec)), &u.Object); err != nil {
		tb.Fatalf("%v in:\n%s", err, spec)
	}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	u.SetName(name)
	return u
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}

// Apply applies an object through a client of its kind.
func (c *Cluster) Apply(tb testing.TB, objects dynamic.ResourceInterface, u *unstructured.Unstructured) {
	tb.Helper()
	_, err := objects.Apply(context.Background(), u.GetName(), u, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	if err != nil {
		tb.Fatalf("apply %s %s: %v", u.GetKind(), u.GetName(), err)
	}
}

// Key applies an APIKey, waits until it is ready, and returns its token.
func (c *Cluster) Key(tb testing.TB, namespace, name, spec string) string {
	tb.Helper()
	c.Apply(tb, c.Keys(namespace), Object(tb, "APIKey", name, spec))
	c.Wait(tb, c.Keys(namespace), name, "Ready", "True", "Active")
	return c.Token(tb, namespace, name)
}

// Token reads a delivery Secret.
func (c *Cluster) Token(tb testing.TB, namespace, name string) string {
	tb.Helper()
	secret, err := c.Kube.CoreV1().Secrets(namespace).Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return string(secret.Data["token"])
}

// Patch merges JSON into an APIKey.
func (c *Cluster) Patch(tb testing.TB, namespace, name, json string) {
	tb.Helper()
	if _, err := c.Keys(namespace).Patch(context.Background(), name, types.MergePatchType, []byte(json), metav1.PatchOptions{}); err != nil {
		tb.Fatal(err)
	}
}

// Wait waits for a condition of an object; an empty reason is any.
func (c *Cluster) Wait(tb testing.TB, objects dynamic.ResourceInterface, name, condition, status, reason string) {
	tb.Helper()
	last := "none"
	err := wait.PollUntilContextTimeout(context.Background(), 20*time.Millisecond, Patience, true, func(ctx context.Context) (bool, error) {
		u, err := objects.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			last = err.Error()
			return false, nil
		}
		for _, c := range Conditions(u) {
			if c.Type != condition {
				continue
			}
			last = fmt.Sprintf("%s, %s, of generation %d: %s", c.Status, c.Reason, c.ObservedGeneration, c.Message)
			return string(c.Status) == status && (reason == "" || c.Reason == reason) && c.ObservedGeneration == u.GetGeneration(), nil
		}
		return false, nil
	})
	if err != nil {
		tb.Fatalf("%s: condition %s is %s; want %s %s", name, condition, last, status, reason)
	}
}

// Conditions are those of an object's status.
func Conditions(u *unstructured.Unstructured) []metav1.Condition {
	var status struct {
		Conditions []metav1.Condition `json:"conditions"`
	}
	if m, ok := u.Object["status"].(map[string]any); ok {
		_ = runtime.DefaultUnstructuredConverter.FromUnstructured(m, &status)
	}
	return status.Conditions
}

// Sample applies a file of config/samples, its namespaces first, and waits for its
// policies.
func (c *Cluster) Sample(tb testing.TB, name string) {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(Root(), "config", "samples", name))
	if err != nil {
		tb.Fatal(err)
	}
	for _, doc := range strings.Split(string(data), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			tb.Fatal(err)
		}
		if u.Object == nil {
			continue
		}
		objects := c.resource(tb, u)
		c.Apply(tb, objects, u)
		if u.GetKind() == "APIKeyPolicy" {
			c.Wait(tb, objects, u.GetName(), "Accepted", "True", "")
		}
	}
}

// resource is the client for an object of a sample.
func (c *Cluster) resource(tb testing.TB, u *unstructured.Unstructured) dynamic.ResourceInterface {
	tb.Helper()
	switch u.GetKind() {
	case "Namespace":
		return c.Dynamic.Resource(corev1.SchemeGroupVersion.WithResource("namespaces"))
	case "APIKeyPolicy":
		return c.Policies(u.GetNamespace())
	case "APIKey":
		return c.Keys(u.GetNamespace())
	}
	tb.Fatalf("a sample holds a %s", u.GetKind())
	return nil
}

// Eventually waits until check returns "", and fails with what it said last.
func Eventually(tb testing.TB, check func() string) {
	tb.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(context.Background(), 5*time.Millisecond, Patience, true, func(context.Context) (bool, error) {
		last = check()
		return last == "", nil
	})
	if err != nil {
		tb.Fatal(last)
	}
}
