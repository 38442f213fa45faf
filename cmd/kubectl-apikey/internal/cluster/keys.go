package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
)

// AllNamespaces in place of a namespace's name means all of them.
const AllNamespaces = metav1.NamespaceAll

// pageSize is how many objects are asked for at once.
const pageSize = 500

// Key reads one APIKey of the user's namespace.
func (c *Cluster) Key(ctx context.Context, name string) (*v1alpha1.APIKey, error) {
	return c.KeyIn(ctx, c.Namespace, name)
}

// KeyIn reads one APIKey.
func (c *Cluster) KeyIn(ctx context.Context, namespace, name string) (*v1alpha1.APIKey, error) {
	key := &v1alpha1.APIKey{}
	return key, c.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, key)
}

// Keys lists the APIKeys of a namespace, or of [AllNamespaces], by namespace and name.
func (c *Cluster) Keys(ctx context.Context, namespace string, selector labels.Selector) (*v1alpha1.APIKeyList, error) {
	all := &v1alpha1.APIKeyList{}
	for next := ""; ; {
		page := &v1alpha1.APIKeyList{}
		options := &client.ListOptions{Namespace: namespace, LabelSelector: selector, Limit: pageSize, Continue: next}
		if err := c.client.List(ctx, page, options); err != nil {
			return nil, err
		}
		all.ListMeta, all.Items = page.ListMeta, append(all.Items, page.Items...)
		if next = page.Continue; next == "" {
			return all, nil
		}
	}
}

// Create creates an APIKey, which becomes what the API server made of it. With dryRun
// the API server only says what it would do.
func (c *Cluster) Create(ctx context.Context, key *v1alpha1.APIKey, dryRun bool) error {
	options := []client.CreateOption{fieldManager}
	if dryRun {
		options = append(options, client.DryRunAll)
	}
	return c.client.Create(ctx, key, options...)
}

// editRounds bounds how often an edit is made again after somebody wrote in between.
const editRounds = 10

// Edit merges a patch into an APIKey: what change returns for its newest form, under
// its resourceVersion, so that two edits at once do not pass each other by. A nil patch
// ends it without a write.
func (c *Cluster) Edit(ctx context.Context, name string, dryRun bool, change func(*v1alpha1.APIKey) (map[string]any, error)) (*v1alpha1.APIKey, error) {
	options := []client.PatchOption{fieldManager}
	if dryRun {
		options = append(options, client.DryRunAll)
	}
	var last error
	for range editRounds {
		key, err := c.Key(ctx, name)
		if err != nil {
			return nil, err
		}
		spec, err := change(key)
		if err != nil || spec == nil {
			return key, err
		}
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": key.ResourceVersion, "uid": key.UID}, "spec": spec})
		if err != nil {
			return nil, err
		}
		last = c.client.Patch(ctx, key, client.RawPatch(types.MergePatchType, body), options...)
		if !apierrors.IsConflict(last) {
			return key, last
		}
	}
	return nil, fmt.Errorf("somebody else writes the APIKey %s all the time: %w", name, last)
}
