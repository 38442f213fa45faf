package reconcile

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// Labels of a namespace decide what its keys are granted, from one moment to the next.
func TestGrantByLabel(t *testing.T) {
	c := newCluster(t)
	c.start()
	c.patch(c.policy, `{"spec":{"grants":[{"namespaces":{"from":"Selector","selector":{"matchLabels":{"tenant":"yes"}}}}]}}`)
	c.policyBecomes(c.policy, v1alpha1.ConditionAccepted, v1alpha1.ReasonAccepted)
	key := c.issued("labelled")
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}
	c.patch(namespace, `{"metadata":{"labels":{"tenant":"no"}}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonPolicyNotFound)
	c.recordBecomes(key, inState(apikey.NotGranted))
	c.patch(namespace, `{"metadata":{"labels":{"tenant":"yes"}}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	c.recordBecomes(key, inState(apikey.Active))
	must(t, c.oneLiveToken(key))
}

// blind is a client whose cache has not heard of namespaces.
type blind struct {
	client.Client
	asked *atomic.Int32
	// sees ends it.
	sees *atomic.Bool
}

func (b blind) Get(ctx context.Context, name client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if _, namespace := o.(*metav1.PartialObjectMetadata); namespace && !b.sees.Load() {
		b.asked.Add(1)
		return apierrors.NewNotFound(corev1.Resource("namespaces"), name.Name)
	}
	return b.Client.Get(ctx, name, o, opts...)
}

// A namespace whose labels are not known yet is not one without labels: selectors may
// ask for just that.
func TestUnknownNamespace(t *testing.T) {
	c := newCluster(t)
	asked, sees := &atomic.Int32{}, &atomic.Bool{}
	stop := c.start()
	c.patch(c.policy, `{"spec":{"grants":[{"namespaces":{"from":"Selector","selector":{"matchExpressions":[{"key":"tenant","operator":"DoesNotExist"}]}}}]}}`)
	c.eventually(func() error { return c.inForce(2) })
	stop()
	c.start(func(o *Options) {
		o.wrap = func(inner client.Client) client.Client { return blind{inner, asked, sees} }
	})
	key := c.apply(c.newKey("early")).(*v1alpha1.APIKey)
	c.eventually(func() error {
		if asked.Load() < 2 {
			return errors.New("it does not look again")
		}
		return nil
	})
	must(t, c.get(key))
	if len(key.Status.Conditions) > 0 {
		t.Errorf("it is judged: %+v", key.Status.Conditions)
	}
	sees.Store(true)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonPolicyNotFound)
	if records := c.records(string(key.UID)); len(records) > 0 {
		t.Errorf("%d records", len(records))
	}
}

// A policy that narrows what it grants cuts the keys that were issued, and says so.
func TestGrantNarrowed(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("narrowed", func(s *v1alpha1.APIKeySpec) { s.Scopes = []v1alpha1.ScopeName{"read", "admin"} })
	c.patch(c.policy, `{"spec":{"grants":[{"namespaces":{"from":"All"},"scopes":["read"],"environments":["live"]}]}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonScopesNotGranted)
	ready := meta.FindStatusCondition(key.Status.Conditions, v1alpha1.ConditionReady)
	if !strings.Contains(ready.Message, "admin") || !strings.Contains(ready.Message, "works with: read") {
		t.Errorf("message: %s", ready.Message)
	}
	record := c.record(key)
	if record.State != apikey.Active || len(record.Scopes) != 1 || record.Scopes[0] != "read" {
		t.Errorf("the record is %s with %v", record.State, record.Scopes)
	}

	c.patch(c.policy, `{"spec":{"grants":[{"namespaces":{"from":"All"},"environments":["test"]}]}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonEnvironmentNotGranted)
	if record := c.record(key); record.State != apikey.NotGranted || len(record.Scopes) != 0 {
		t.Errorf("the record is %s with %v", record.State, record.Scopes)
	}

	c.patch(c.policy, `{"spec":{"grants":null}}`) // the policy's own namespace only
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonPolicyNotFound)
	c.patch(c.policy, `{"spec":{"grants":[{"namespaces":{"from":"All"}}]}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	must(t, c.oneLiveToken(key))
}

// A policy that grants nothing and one that is not there read alike.
func TestNotFoundReadsLikeNotGranted(t *testing.T) {
	c := newCluster(t)
	c.start()
	c.patch(c.policy, `{"spec":{"grants":null}}`)
	refused := c.apply(c.newKey("refused")).(*v1alpha1.APIKey)
	absent := c.apply(c.newKey("absent", func(s *v1alpha1.APIKeySpec) { s.PolicyRef.Name = "nowhere" })).(*v1alpha1.APIKey)
	c.becomes(refused, v1alpha1.ConditionReady, v1alpha1.ReasonPolicyNotFound)
	c.becomes(absent, v1alpha1.ConditionReady, v1alpha1.ReasonPolicyNotFound)
	message := func(key *v1alpha1.APIKey) string {
		return meta.FindStatusCondition(key.Status.Conditions, v1alpha1.ConditionReady).Message
	}
	if got, want := message(absent), strings.ReplaceAll(message(refused), "stepsies", "nowhere"); got != want {
		t.Errorf("absent: %s\nrefused: %s", got, want)
	}
}

// The environment is the policy's first when the key is minted, and stays.
func TestDefaultEnvironmentIsFixed(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("fixed")
	c.patch(c.policy, `{"spec":{"environments":[{"name":"new","prefix":"nk_"},{"name":"live","prefix":"sk_"},{"name":"test","prefix":"tk_"}]}}`)
	later := c.apply(c.newKey("later")).(*v1alpha1.APIKey)
	c.eventually(func() error {
		must(t, c.get(later))
		return hasReason(later.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	})
	c.patch(key, `{"spec":{"metadata":{"seen":"yes"}}}`)
	c.recordBecomes(key, func(r *apikey.Record) bool { return r.Metadata["seen"] == "yes" && r.Environment == "live" })
}

// Deleting a policy denies its keys; one of the same name is another policy, that
// judges them anew.
func TestPolicyRecreated(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.issued("orphaned")
	first := c.policy.UID
	must(t, c.admin.Delete(t.Context(), c.policy))
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonPolicyNotFound)
	c.recordBecomes(key, inState(apikey.NotGranted))
	if c.acceptedForm(c.policy) != nil {
		t.Error("the accepted form is still there")
	}
	if got := c.record(key).Policy.UID; got != string(first) {
		t.Errorf("the record is of policy %s", got)
	}
	second := c.apply(c.newPolicy("stepsies")).(*v1alpha1.APIKeyPolicy)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	if got := c.record(key).Policy.UID; got != string(second.UID) {
		t.Errorf("the record is of policy %s, want %s", got, second.UID)
	}
	must(t, c.oneLiveToken(key))
}
