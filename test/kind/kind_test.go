//go:build kind

// Package kind judges an installation in a cluster: that of `make kind-up`, as .kind/env
// says. It sends the products' tables through every way in that needs a cluster, each
// made with the manifest of config/gateways that its page tells to use, and looks what
// faults cost those who call. The cluster needs
//
//   - what `make kind-up` makes,
//   - Envoy Gateway with the GatewayClass eg, for its tests,
//   - Istio with the values of config/gateways/istio-provider.yaml, for its tests.
//
// What is missing is a failure; hack/test-kind leaves out the tests of products that are
// not installed. The namespace platform is the tests' own.
package kind

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"keygate.dev/keygate/hack/testbin"
	"keygate.dev/keygate/test/conformance"
	"keygate.dev/keygate/test/rig"
)

// namespace is that of the APIs, as in the manifests and the samples.
const namespace = "platform"

// upstream is the workload behind each way, in the mesh where there is one.
const upstream = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: stepsies, namespace: platform}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: stepsies, namespace: platform}
spec:
  selector: {matchLabels: {app: stepsies}}
  template:
    metadata:
      labels: {app: stepsies, sidecar.istio.io/inject: "INJECT"}
      annotations:
ANNOTATIONS
    spec:
      serviceAccountName: stepsies
      containers:
      - {name: upstream, image: IMAGE, imagePullPolicy: IfNotPresent, args: ["--listen=:8080"]}
`

// service leads to the upstream. All tests use the same one: had each its own, the
// address that an Envoy still knows might be another Service's by then.
const service = `
apiVersion: v1
kind: Service
metadata: {name: stepsies, namespace: platform}
spec:
  selector: {app: stepsies}
  ports: [{name: http, port: 8080, appProtocol: http}]
`

// world is what all tests share.
type world struct {
	*rig.Cluster
	kubectl string
	tokens  conformance.Tokens
	// ca is the file of the authority of the gateways' certificate.
	ca string
}

var (
	worldOnce sync.Once
	shared    *world
)

// open connects to the cluster and issues the keys, once.
func open(t *testing.T) *world {
	t.Helper()
	worldOnce.Do(func() { shared = begin(t) })
	if shared == nil {
		t.Fatal("the cluster could not be used: see the first test")
	}
	return shared
}

func begin(t *testing.T) *world {
	t.Helper()
	path := os.Getenv("KUBECONFIG")
	if path == "" {
		t.Fatal("KUBECONFIG is not set: it names the cluster to test on")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	assets, err := testbin.KubeAssets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{kubectl: filepath.Join(assets, "kubectl")}
	if w.Cluster, err = rig.NewCluster(config); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"keygate-controller", "keygate-extauthz"} {
		w.run(t, "", "rollout", "status", "-n", "keygate-system", "deploy/"+name, "--timeout=60s")
	}
	// Those of an earlier run: a revoked key stays so.
	w.run(t, "", "delete", "apikeys", "-n", namespace, "--all", "--timeout=60s")
	w.tokens = conformance.Issue(t, w.Cluster, conformance.Stepsies)
	w.run(t, "", "get", "secret", "-n", namespace, "keygate-client-tls")
	w.certificate(t)
	w.run(t, service, "apply", "-f", "-")
	return w
}

// certificate makes the gateways' own, in the Secret that the manifests name.
func (w *world) certificate(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "keygate-kind-") // outlives the test
	if err != nil {
		t.Fatal(err)
	}
	issued := rig.NewAuthority(t).Issue(t, conformance.Stepsies.Host)
	data := map[string][]byte{}
	for _, file := range []string{"ca.crt", "tls.crt", "tls.key"} {
		if data[file], err = os.ReadFile(filepath.Join(issued, file)); err != nil {
			t.Fatal(err)
		}
	}
	w.ca = filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(w.ca, data["ca.crt"], 0o600); err != nil {
		t.Fatal(err)
	}
	pair := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "stepsies-tls"}, Type: corev1.SecretTypeTLS, Data: data}
	_ = w.Kube.CoreV1().Secrets(namespace).Delete(t.Context(), pair.Name, metav1.DeleteOptions{}) // of an earlier run
	if _, err := w.Kube.CoreV1().Secrets(namespace).Create(t.Context(), pair, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// run runs kubectl.
func (w *world) run(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	return rig.Output(t, w.kubectl, stdin, args...)
}

// apply applies a manifest until the test ends.
func (w *world) apply(t *testing.T, text string) {
	t.Helper()
	w.run(t, text, "apply", "-f", "-")
	t.Cleanup(func() { w.run(t, text, "delete", "-f", "-", "--ignore-not-found", "--timeout=90s") })
}

// upstream runs the workload, in the mesh or not, until the test ends.
func (w *world) upstream(t *testing.T, mesh bool) {
	t.Helper()
	image := os.Getenv("UPSTREAM_IMAGE")
	if image == "" {
		t.Fatal("UPSTREAM_IMAGE is not set: it names the image of hack/stack/upstream")
	}
	inject := map[bool]string{true: "true", false: "false"}[mesh]
	w.apply(t, strings.NewReplacer("IMAGE", image, "INJECT", inject, "ANNOTATIONS", annotations(t)).Replace(upstream))
	w.run(t, "", "rollout", "status", "-n", namespace, "deploy/stepsies", "--timeout=120s")
	if mesh && !strings.Contains(w.run(t, "", "get", "pods", "-n", namespace, "-l", "app=stepsies", "-o", "jsonpath={.items[*].spec.initContainers[*].name} {.items[*].spec.containers[*].name}"), "istio-proxy") {
		t.Fatal("the workload has no sidecar: is Istio's injection there?")
	}
}

// annotations are those that istio-sidecar.yaml asks for, indented.
func annotations(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^#   (sidecar\.istio\.io/.*)$`).FindAllStringSubmatch(rig.Manifest(t, "istio-sidecar.yaml"), -1)
	if len(found) != 2 {
		t.Fatalf("istio-sidecar.yaml asks for %d annotations", len(found))
	}
	return "        " + found[0][1] + "\n        " + found[1][1]
}

// unready says what keeps the pods of a selector from being there and ready; those of
// an earlier test may still be on their way out.
func (w *world) unready(t *testing.T, namespace, selector string) string {
	t.Helper()
	pods, err := w.Kube.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil || len(pods.Items) == 0 {
		return fmt.Sprintf("no pod %s: %v", selector, err)
	}
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp != nil {
			return pod.Name + " is not gone"
		}
		ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		if !ready {
			return fmt.Sprintf("%s is not ready: %v", pod.Name, pod.Status)
		}
	}
	return ""
}

// forwarded is what kubectl says of a port that it forwards.
var forwarded = regexp.MustCompile(`Forwarding from (127\.0\.0\.1:\d+) `)

// way is the way in through port 443 of a Deployment's Service, once there is one that
// leads to the upstream. Its certificate's authority is in the file ca.
func (w *world) way(t *testing.T, namespace, selector, ca string) *rig.Way {
	t.Helper()
	name := ""
	rig.Eventually(t, func() string {
		name = w.run(t, "", "get", "service", "-n", namespace, "-l", selector, "-o", "jsonpath={.items[*].metadata.name}")
		if name == "" {
			return "there is no Service for the Gateway: " + selector
		}
		return ""
	})
	rig.Eventually(t, func() string { return w.unready(t, namespace, selector) })
	forward := rig.Start(t, w.kubectl, "port-forward", "-n", namespace, "service/"+name, ":443")
	address := ""
	rig.Eventually(t, func() string {
		match := forwarded.FindStringSubmatch(forward.Text(t))
		if match == nil {
			return "kubectl forwards no port: " + forward.Text(t)
		}
		address = match[1]
		return ""
	})
	way, err := rig.NewWay("", "https://"+address, ca)
	if err != nil {
		t.Fatal(err)
	}
	// The node's proxy learns some moments later of a pod that is ready.
	rig.Eventually(t, func() string {
		a, err := way.Do(rig.Call{Host: conformance.Stepsies.Host, Path: "/v1/stepsies", Token: w.tokens["read"]})
		if err != nil {
			return err.Error()
		}
		if a.Status != http.StatusOK {
			return "the upstream is not reached: " + a.String()
		}
		return ""
	})
	return way
}
