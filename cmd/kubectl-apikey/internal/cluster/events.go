package cluster

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/cmd/kubectl-apikey/internal/story"
)

// Events reads what the Events of APIKeys tell. The API server keeps them for an hour.
func (c *Cluster) Events(ctx context.Context, wanted story.Wanted) ([]story.Entry, error) {
	about := fields.Set{"regarding.kind": "APIKey"}
	if wanted.Name != "" {
		about["regarding.name"] = wanted.Name
	}
	list := &eventsv1.EventList{}
	if err := c.client.List(ctx, list, client.InNamespace(wanted.Namespace), client.MatchingFieldsSelector{Selector: about.AsSelector()}); err != nil {
		return nil, err
	}
	return story.Events(list.Items, wanted), nil
}

// Pods lists the running pods of a namespace that have labels.
func (c *Cluster) Pods(ctx context.Context, namespace string, selector labels.Selector) ([]corev1.Pod, error) {
	list := &corev1.PodList{}
	if err := c.client.List(ctx, list, &client.ListOptions{Namespace: namespace, LabelSelector: selector}); err != nil {
		return nil, err
	}
	var running []corev1.Pod
	for i := range list.Items {
		if list.Items[i].Status.Phase == corev1.PodRunning && list.Items[i].DeletionTimestamp == nil {
			running = append(running, list.Items[i])
		}
	}
	return running, nil
}

// Log opens the log of a pod's container, as far back as the node keeps it.
func (c *Cluster) Log(ctx context.Context, pod *corev1.Pod, container string) (io.ReadCloser, error) {
	kube, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	log, err := kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container}).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the log of %s/%s, container %s: %w", pod.Namespace, pod.Name, container, err)
	}
	return log, nil
}

// Namespaces lists the names of all namespaces.
func (c *Cluster) Namespaces(ctx context.Context) ([]string, error) {
	list := &corev1.NamespaceList{}
	if err := c.client.List(ctx, list); err != nil {
		return nil, err
	}
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return names, nil
}
