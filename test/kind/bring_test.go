//go:build kind

package kind

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"keygate.dev/keygate/test/rig"
)

const (
	// system is the release's namespace.
	system = "keygate-system"
	// ours selects the pods of the release.
	ours = "app.kubernetes.io/name=keygate,app.kubernetes.io/component in (controller,extauthz)"
	// recovery bounds how long a fault's traces may stay.
	recovery = 3 * time.Minute
)

// deployments of the release.
var deployments = []string{"deployment/keygate-controller", "deployment/keygate-extauthz"}

// eventually is [rig.Eventually] with more patience: pods drain, and start.
func eventually(t *testing.T, check func() string) {
	t.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, recovery, true, func(context.Context) (bool, error) {
		last = check()
		return last == "", nil
	})
	if err != nil {
		t.Fatal(last)
	}
}

// pods are those of the release.
func (w *world) pods(t *testing.T, selector string) []corev1.Pod {
	t.Helper()
	list, err := w.Kube.CoreV1().Pods(system).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// whole waits until the Deployments have all their pods, Ready, and no others.
func (w *world) whole(t *testing.T) {
	t.Helper()
	for _, name := range deployments {
		w.run(t, "", "rollout", "status", "-n", system, name, "--timeout=180s")
	}
	eventually(t, func() string { return w.unready(t, system, ours) })
}

func deletePods(t *testing.T, w *world) {
	for _, pod := range w.pods(t, ours) {
		if err := w.Kube.CoreV1().Pods(system).Delete(t.Context(), pod.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		w.whole(t)
	}
}

func rollAll(t *testing.T, w *world) {
	for range rolls {
		w.run(t, "", append([]string{"rollout", "restart", "-n", system}, deployments...)...)
		for _, name := range deployments {
			w.run(t, "", "rollout", "status", "-n", system, name, "--timeout=180s")
		}
	}
	w.whole(t)
}

// evictPods is what a drain does to one node, so far as the budgets allow: there is no
// other node that could take what they protect.
func evictPods(t *testing.T, w *world) {
	pods := w.pods(t, ours)
	node := pods[0].Spec.NodeName
	w.run(t, "", "cordon", node)
	defer w.whole(t)
	defer w.run(t, "", "uncordon", node)
	evicted := map[string]int{}
	for _, pod := range pods {
		component := pod.Labels["app.kubernetes.io/component"]
		err := w.Kube.CoreV1().Pods(system).EvictV1(t.Context(), &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: system}})
		if err == nil {
			evicted[component]++
		} else if !apierrors.IsTooManyRequests(err) {
			t.Fatal(err)
		}
	}
	if evicted["controller"] != 1 || evicted["extauthz"] != 1 {
		t.Errorf("evicted %v; the budgets allow one of each", evicted)
	}
	eventually(t, func() string {
		for _, pod := range w.pods(t, ours) {
			if pod.DeletionTimestamp != nil {
				return pod.Name + " is not gone"
			}
		}
		return ""
	})
}

// onNode runs a script on the node, which kind runs as a container.
func onNode(t *testing.T, script string) string {
	t.Helper()
	return rig.Output(t, "docker", "", "exec", variable(t, "KIND_NODE"), "sh", "-euc", script)
}

// killed kills the process of a container, unasked, by its labels.
func killed(t *testing.T, pod types.NamespacedName, container string) {
	t.Helper()
	id := onNode(t, fmt.Sprintf("crictl ps -q --label io.kubernetes.pod.namespace=%s --label io.kubernetes.pod.name=%s --label io.kubernetes.container.name=%s",
		pod.Namespace, pod.Name, container))
	if len(lines(id)) != 1 {
		t.Fatalf("the containers %s of %s are %q, want one", container, pod, id)
	}
	onNode(t, "kill -KILL $(crictl inspect --output go-template --template '{{.info.pid}}' "+id+")")
}

func killExtauthz(t *testing.T, w *world) {
	pod := w.pods(t, "app.kubernetes.io/component=extauthz")[0]
	killed(t, types.NamespacedName{Namespace: system, Name: pod.Name}, "extauthz")
	eventually(t, func() string {
		for _, p := range w.pods(t, ours) {
			if p.Name == pod.Name && p.Status.ContainerStatuses[0].RestartCount == pod.Status.ContainerStatuses[0].RestartCount {
				return p.Name + " has not been restarted"
			}
		}
		return ""
	})
	w.whole(t)
}

// killAPIServer kills the API server; the kubelet starts it again.
func killAPIServer(t *testing.T, w *world) {
	killed(t, types.NamespacedName{Namespace: "kube-system", Name: "kube-apiserver-" + variable(t, "KIND_NODE")}, "kube-apiserver")
	eventually(t, func() string {
		if out, err := exec.Command(w.kubectl, "get", "--raw=/readyz").CombinedOutput(); err != nil {
			return strings.TrimSpace(string(out))
		}
		return ""
	})
	w.whole(t)
}

// upgrade installs the release with other pods, and goes back.
func upgrade(t *testing.T, w *world) {
	w.runHelm(t, "upgrade", "keygate", rig.Root()+"/charts/keygate", "--reset-then-reuse-values", "--wait", "--timeout=5m",
		"--set=extauthz.logDecisions=denied", "--set-string=controller.podAnnotations.upgraded=true")
	w.whole(t)
	w.runHelm(t, "rollback", "keygate", "--wait", "--timeout=5m")
	w.whole(t)
}
