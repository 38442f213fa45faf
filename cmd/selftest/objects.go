package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/internal/kube"
)

//go:embed objects.yaml
var objects string

// name of the policy, the key and its delivery Secret: roles name them.
const name = "keygate-selftest"

// pollEvery is how often it is looked whether something has come about.
const pollEvery = 100 * time.Millisecond

// cluster is the namespace of the API server that the test works in.
type cluster struct {
	client    client.Client
	namespace string
}

func newCluster(o options) (*cluster, error) {
	config, err := kube.Config(o.kubeconfig, name)
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	return &cluster{c, o.namespace}, nil
}

// key is the name of everything that the test makes.
func (c *cluster) key() client.ObjectKey {
	return client.ObjectKey{Namespace: c.namespace, Name: name}
}

// create makes the policy and the key.
func (c *cluster) create(ctx context.Context) error {
	for document := range strings.SplitSeq(objects, "\n---\n") {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
			return fmt.Errorf("read objects.yaml: %w", err)
		}
		object.SetNamespace(c.namespace)
		if err := c.client.Create(ctx, object); err != nil {
			return fmt.Errorf("make the %s: %w", object.GetKind(), err)
		}
	}
	return nil
}

// token waits until the key is Ready and takes its token.
func (c *cluster) token(ctx context.Context) (string, error) {
	var last *metav1.Condition
	err := until(ctx, func() (bool, error) {
		key := &v1alpha1.APIKey{}
		if err := c.client.Get(ctx, c.key(), key); err != nil {
			return false, err
		}
		last = apimeta.FindStatusCondition(key.Status.Conditions, v1alpha1.ConditionReady)
		return last != nil && last.Status == metav1.ConditionTrue, nil
	})
	if err != nil && last != nil {
		return "", fmt.Errorf("wait for the key to be Ready: %w: %s: %s", err, last.Reason, last.Message)
	}
	if err != nil {
		return "", fmt.Errorf("wait for the key to be Ready: %w: no controller has looked at it", err)
	}
	secret := &corev1.Secret{}
	if err := c.client.Get(ctx, c.key(), secret); err != nil {
		return "", fmt.Errorf("read the delivery Secret: %w", err)
	}
	return string(secret.Data["token"]), nil
}

// revoke revokes the key.
func (c *cluster) revoke(ctx context.Context) error {
	key := &v1alpha1.APIKey{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name}}
	if err := c.client.Patch(ctx, key, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"state":"Revoked"}}`))); err != nil {
		return fmt.Errorf("revoke the key: %w", err)
	}
	return nil
}

// remove deletes what was made, and returns when it is gone.
func (c *cluster) remove(ctx context.Context) error {
	for _, object := range []client.Object{&v1alpha1.APIKey{}, &v1alpha1.APIKeyPolicy{}} {
		object.SetNamespace(c.namespace)
		object.SetName(name)
		if err := client.IgnoreNotFound(c.client.Delete(ctx, object)); err != nil {
			return fmt.Errorf("remove what was made: %w", err)
		}
		if err := until(ctx, func() (bool, error) {
			err := c.client.Get(ctx, c.key(), object)
			return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
		}); err != nil {
			return fmt.Errorf("wait until what was made is gone: %w", err)
		}
	}
	return nil
}

// until waits for a condition.
func until(ctx context.Context, holds func() (bool, error)) error {
	for {
		held, err := holds()
		if held || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}
