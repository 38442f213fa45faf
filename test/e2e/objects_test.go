package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/api/v1alpha1"
)

// keysNamespace is where records are.
const keysNamespace = "keygate-keys"

// namespace creates a namespace for one test.
func (s *stack) namespace(tb testing.TB, labels map[string]string) string {
	tb.Helper()
	ns, err := s.kube.CoreV1().Namespaces().Create(context.Background(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-", Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return ns.Name
}

func (s *stack) keys(namespace string) dynamic.ResourceInterface {
	return s.dynamic.Resource(v1alpha1.GroupVersion.WithResource("apikeys")).Namespace(namespace)
}

func (s *stack) policies(namespace string) dynamic.ResourceInterface {
	return s.dynamic.Resource(v1alpha1.GroupVersion.WithResource("apikeypolicies")).Namespace(namespace)
}

// hosts counts the hosts that tests were given.
var hosts atomic.Int64

// newHost is a host that no other test uses.
func newHost() string { return fmt.Sprintf("api-%d.e2e.test", hosts.Add(1)) }

// object makes an object of a kind from the YAML of its spec.
func object(tb testing.TB, kind, name, spec string) *unstructured.Unstructured {
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

// policy applies an APIKeyPolicy and waits until it is accepted and known to every
// extauthz.
func (s *stack) policy(tb testing.TB, namespace, name, spec string) {
	tb.Helper()
	if _, err := s.policies(namespace).Apply(context.Background(), name, object(tb, "APIKeyPolicy", name, spec),
		metav1.ApplyOptions{FieldManager: "e2e", Force: true}); err != nil {
		tb.Fatal(err)
	}
	s.wait(tb, s.policies(namespace), name, "Accepted", "True", "")
	s.settle(tb)
}

// apply applies an APIKey and does not wait.
func (s *stack) apply(tb testing.TB, namespace, name, spec string) {
	tb.Helper()
	if _, err := s.keys(namespace).Apply(context.Background(), name, object(tb, "APIKey", name, spec),
		metav1.ApplyOptions{FieldManager: "e2e", Force: true}); err != nil {
		tb.Fatal(err)
	}
}

// key applies an APIKey, waits until it is ready and known to every extauthz, and
// returns its token.
func (s *stack) key(tb testing.TB, namespace, name, spec string) string {
	tb.Helper()
	s.apply(tb, namespace, name, spec)
	s.wait(tb, s.keys(namespace), name, "Ready", "True", "Active")
	s.settle(tb)
	return s.token(tb, namespace, name)
}

// settle waits until every extauthz has seen all that was written to the keys
// namespace before: a watch tells of things in their order, so that a Secret which
// is counted as none of Keygate's comes after them.
func (s *stack) settle(tb testing.TB) {
	tb.Helper()
	before := map[string]float64{}
	for name := range s.vars {
		if name == "METRICS" || strings.HasPrefix(name, "METRICS_") {
			before[name] = s.strangers(tb, name)
		}
	}
	secrets := s.kube.CoreV1().Secrets(keysNamespace)
	marker, err := secrets.Create(context.Background(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{GenerateName: "marker-"}}, metav1.CreateOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	for name, count := range before {
		eventually(tb, func() string {
			if s.strangers(tb, name) == count {
				return "extauthz of " + name + " lags behind"
			}
			return ""
		})
	}
	if err := secrets.Delete(context.Background(), marker.Name, metav1.DeleteOptions{}); err != nil {
		tb.Fatal(err)
	}
}

// strangers is how many Secrets one extauthz has counted as none of Keygate's.
func (s *stack) strangers(tb testing.TB, metrics string) (sum float64) {
	tb.Helper()
	for line := range strings.Lines(get(tb, s.vars[metrics]+"/metrics")) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "keygate_store_rejected_objects_total{") && strings.Contains(line, `reason="type"`) {
			count, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				tb.Fatal(err)
			}
			sum += count
		}
	}
	return sum
}

// token reads a delivery Secret.
func (s *stack) token(tb testing.TB, namespace, name string) string {
	tb.Helper()
	secret, err := s.kube.CoreV1().Secrets(namespace).Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return string(secret.Data["token"])
}

// patch merges JSON into an APIKey.
func (s *stack) patch(tb testing.TB, namespace, name, json string) {
	tb.Helper()
	if _, err := s.keys(namespace).Patch(context.Background(), name, types.MergePatchType, []byte(json), metav1.PatchOptions{}); err != nil {
		tb.Fatal(err)
	}
}

// wait waits for a condition of an object; an empty reason is any.
func (s *stack) wait(tb testing.TB, objects dynamic.ResourceInterface, name, condition, status, reason string) {
	tb.Helper()
	last := "none"
	err := wait.PollUntilContextTimeout(context.Background(), 20*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		u, err := objects.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			last = err.Error()
			return false, nil
		}
		for _, c := range conditions(u) {
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

// conditions are those of an object's status.
func conditions(u *unstructured.Unstructured) []metav1.Condition {
	var status struct {
		Conditions []metav1.Condition `json:"conditions"`
	}
	if m, ok := u.Object["status"].(map[string]any); ok {
		_ = runtime.DefaultUnstructuredConverter.FromUnstructured(m, &status)
	}
	return status.Conditions
}

// eventually waits until check returns "", and fails with what it said last.
func eventually(tb testing.TB, check func() string) {
	tb.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(context.Background(), 5*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		last = check()
		return last == "", nil
	})
	if err != nil {
		tb.Fatal(last)
	}
}

// sample applies a file of config/samples, its namespaces first, and waits for
// its policies.
func (s *stack) sample(tb testing.TB, name string) {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(repository(), "config", "samples", name))
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
		objects := s.resource(tb, u)
		if _, err := objects.Apply(context.Background(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "e2e", Force: true}); err != nil {
			tb.Fatal(err)
		}
		if u.GetKind() == "APIKeyPolicy" {
			s.wait(tb, objects, u.GetName(), "Accepted", "True", "")
		}
	}
}

// resource is the client for an object of a sample.
func (s *stack) resource(tb testing.TB, u *unstructured.Unstructured) dynamic.ResourceInterface {
	tb.Helper()
	switch u.GetKind() {
	case "Namespace":
		return s.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("namespaces"))
	case "APIKeyPolicy":
		return s.policies(u.GetNamespace())
	case "APIKey":
		return s.keys(u.GetNamespace())
	}
	tb.Fatalf("a sample holds a %s", u.GetKind())
	return nil
}
