package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"keygate.dev/keygate/test/rig"
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

func (s *stack) keys(namespace string) dynamic.ResourceInterface { return s.running.Keys(namespace) }

func (s *stack) policies(namespace string) dynamic.ResourceInterface {
	return s.running.Policies(namespace)
}

// hosts counts the hosts that tests were given.
var hosts atomic.Int64

// newHost is a host that no other test uses.
func newHost() string { return fmt.Sprintf("api-%d.e2e.test", hosts.Add(1)) }

// policy applies an APIKeyPolicy and waits until it is accepted and known to every
// extauthz.
func (s *stack) policy(tb testing.TB, namespace, name, spec string) {
	tb.Helper()
	s.running.Apply(tb, s.policies(namespace), rig.Object(tb, "APIKeyPolicy", name, spec))
	s.wait(tb, s.policies(namespace), name, "Accepted", "True", "")
	s.settle(tb)
}

// apply applies an APIKey and does not wait.
func (s *stack) apply(tb testing.TB, namespace, name, spec string) {
	tb.Helper()
	s.running.Apply(tb, s.keys(namespace), rig.Object(tb, "APIKey", name, spec))
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
	return s.running.Token(tb, namespace, name)
}

// patch merges JSON into an APIKey.
func (s *stack) patch(tb testing.TB, namespace, name, json string) {
	tb.Helper()
	s.running.Patch(tb, namespace, name, json)
}

// wait waits for a condition of an object; an empty reason is any.
func (s *stack) wait(tb testing.TB, objects dynamic.ResourceInterface, name, condition, status, reason string) {
	tb.Helper()
	s.running.Wait(tb, objects, name, condition, status, reason)
}

// conditions are those of an object's status.
func conditions(u *unstructured.Unstructured) []metav1.Condition { return rig.Conditions(u) }

// eventually waits until check returns "", and fails with what it said last.
func eventually(tb testing.TB, check func() string) {
	tb.Helper()
	rig.Eventually(tb, check)
}

// sample applies a file of config/samples, its namespaces first, and waits for
// its policies.
func (s *stack) sample(tb testing.TB, name string) {
	tb.Helper()
	s.running.Sample(tb, name)
}
