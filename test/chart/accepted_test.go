package chart

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestAccepted: with every switch, a real API server takes every object, and no pod
// asks for more than the Pod Security Standard "restricted" lets it.
func TestAccepted(t *testing.T) {
	server := startWithForeignCRDs(t)
	c := newClient(t, server.Config)
	system, keys := server.Namespace("chart", restricted), server.Namespace("chart-keys", nil)
	for name, args := range switches {
		t.Run(name, func(t *testing.T) {
			objects := Render(t, append(args, "--namespace="+system, "--set=keysNamespace.name="+keys)...)
			seen := 0
			for _, object := range objects {
				if err := apply(t, c, object, client.DryRunAll); err != nil {
					t.Errorf("%s: %v", id(object), err)
				}
				for _, pod := range pods(t, object) {
					pod.Namespace = system
					seen++
					if err := c.Create(t.Context(), pod, client.DryRunAll); err != nil {
						t.Errorf("the pod of %s: %v", id(object), err)
					}
				}
			}
			if seen < 3 {
				t.Errorf("only %d pods were seen", seen)
			}
		})
	}
	t.Run("a pod that is not restricted is refused", func(t *testing.T) {
		pod := pods(t, Render(t).Find("Deployment", "keygate-extauthz"))[0]
		pod.Namespace = system
		pod.Spec.Containers[0].SecurityContext = nil
		if err := c.Create(t.Context(), pod, client.DryRunAll); !apierrors.IsForbidden(err) {
			t.Errorf("got %v", err)
		}
	})
}

// TestUsersOfTheCluster: who lets the cluster choose users and groups gets pods that name
// none, and that still may not run as root.
func TestUsersOfTheCluster(t *testing.T) {
	for _, object := range Render(t, "--set=podSecurityContext.runAsUser=null,podSecurityContext.runAsGroup=null,podSecurityContext.fsGroup=null") {
		for _, pod := range pods(t, object) {
			security := pod.Spec.SecurityContext
			if security.RunAsUser != nil || security.RunAsGroup != nil || security.FSGroup != nil || !*security.RunAsNonRoot {
				t.Errorf("%s: %+v", id(object), security)
			}
		}
	}
}

// TestPods: what every pod has beyond what the standard asks for.
func TestPods(t *testing.T) {
	for _, object := range Render(t, everything...) {
		for _, pod := range pods(t, object) {
			container := pod.Spec.Containers[0]
			security := container.SecurityContext
			if security.ReadOnlyRootFilesystem == nil || !*security.ReadOnlyRootFilesystem {
				t.Errorf("%s: the root file system can be written", id(object))
			}
			if pod.Spec.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || *pod.Spec.SecurityContext.RunAsUser == 0 {
				t.Errorf("%s: %+v", id(object), pod.Spec.SecurityContext)
			}
			if container.Resources.Requests.Cpu().IsZero() || container.Resources.Limits.Memory().IsZero() {
				t.Errorf("%s: resources %+v", id(object), container.Resources)
			}
			if pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks {
				t.Errorf("%s is told every Service of the namespace", id(object))
			}
			if len(pod.Spec.ImagePullSecrets) != 1 || container.Image != "keygate.dev/keygate:dev" {
				t.Errorf("%s: %s with %v", id(object), container.Image, pod.Spec.ImagePullSecrets)
			}
		}
	}
}
