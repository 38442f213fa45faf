package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"keygate.dev/keygate/api/v1alpha1"
)

// fieldManager of what extauthz writes.
const fieldManager = "keygate-extauthz"

// metadataOnly asks for no more of an APIKey in an answer than its metadata.
const metadataOnly = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"

// API is the [Sink] of a cluster.
type API struct{ client rest.Interface }

// NewAPI makes a Sink of a configuration, whose rate limits do not count.
func NewAPI(config *rest.Config) (*API, error) {
	config = rest.CopyConfig(config)
	config.APIPath, config.GroupVersion = "/apis", &v1alpha1.GroupVersion
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	config.QPS = -1 // the Writer's pace is the limit
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of APIKeys: %w", err)
	}
	return &API{client}, nil
}

// Put implements [Sink]: by a merge patch of the status subresource, so that what the
// controller and other replicas write stays as it is. An API server ignores the uid
// in such a patch; that it is the same APIKey, the admission policy of config/rbac
// sees by the ids of its tokens.
func (a *API) Put(ctx context.Context, c Change) error {
	body, err := json.Marshal(patchOf(c))
	if err != nil {
		return fmt.Errorf("encode the patch of %s/%s: %w", c.Owner.Namespace, c.Owner.Name, err)
	}
	err = a.client.Patch(types.MergePatchType).
		Namespace(c.Owner.Namespace).Resource("apikeys").Name(c.Owner.Name).SubResource("status").
		Param("fieldManager", fieldManager).SetHeader("Accept", metadataOnly).
		MaxRetries(0). // each would be a write that is not counted
		Body(body).Do(ctx).Error()
	return outcome(err)
}

// patchOf is the merge patch of a change.
func patchOf(c Change) map[string]any {
	usage := map[string]string{}
	for _, u := range c.Uses {
		usage[fmt.Sprintf("%016x", u.ID)] = timestamp(u.Minute)
	}
	status := map[string]any{"usage": usage}
	if !c.KeepLast {
		status["lastUsedAt"] = timestamp(c.last().Minute)
	}
	return map[string]any{"status": status}
}

// timestamp is a minute since 1970 as the API writes times.
func timestamp(minute int64) string { return time.Unix(minute*60, 0).UTC().Format(time.RFC3339) }

// outcome tells apart what follows from an error of the API server's.
func outcome(err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err), apierrors.IsConflict(err), apierrors.IsGone(err):
		return fmt.Errorf("%w: %w", ErrGone, err)
	case apierrors.IsInvalid(err):
		return refusedFor(err)
	case apierrors.IsForbidden(err), apierrors.IsBadRequest(err):
		return &Refused{Err: err}
	}
	return err
}

// refusedFor reads which times would go back (APIKeyStatus has rules against it).
func refusedFor(err error) *Refused {
	refused := &Refused{Err: err}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return refused
	}
	for _, cause := range status.Status().Details.Causes {
		if cause.Type != metav1.CauseTypeFieldValueInvalid {
			continue
		}
		refused.Last = refused.Last || cause.Field == "status.lastUsedAt"
		refused.Usage = refused.Usage || cause.Field == "status.usage"
	}
	return refused
}
