package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/test/rig"
)

// quotaInDocs is the ResourceQuota that docs/operating.md shows.
func quotaInDocs(t *testing.T) *corev1.ResourceQuota {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(rig.Root(), "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(page), "```yaml\n") {
		manifest, _, _ := strings.Cut(block, "\n```")
		quota := &corev1.ResourceQuota{}
		if err := yaml.UnmarshalStrict([]byte(manifest), quota); err == nil && quota.Kind == "ResourceQuota" {
			return quota
		}
	}
	t.Fatal("docs/operating.md shows no ResourceQuota")
	return nil
}

// counted is what the quota counts.
const counted corev1.ResourceName = "count/apikeys.keygate.dev"

// quotaed is a namespace with a policy and a quota.
type quotaed struct {
	*stack
	*testing.T
	namespace, quota string
}

// TestQuota: a ResourceQuota bounds how many APIKeys a namespace has, as the
// documentation says.
func TestQuota(t *testing.T) {
	s := shared
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(newHost()))
	quota, err := s.kube.CoreV1().ResourceQuotas(ns).Create(t.Context(), quotaInDocs(t), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hard := quota.Spec.Hard[counted]
	most := int(hard.Value())
	if most < 2 {
		t.Fatalf("the quota is %v", quota.Spec.Hard)
	}
	q := &quotaed{s, t, ns, quota.Name}
	q.inForce()
	for i := range most {
		if err := q.create(i); err != nil {
			t.Fatalf("key %d of %d: %v", i+1, most, err)
		}
	}
	q.becomesUsed(most)
	if err := q.create(most); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota") {
		t.Errorf("a key beyond the quota: %v", err)
	}
	s.wait(t, s.keys(ns), "key-0", "Ready", "True", "Active") // the controller's writes are not in its way
	s.patch(t, ns, "key-0", `{"spec":{"state":"Suspended"}}`)
	s.wait(t, s.keys(ns), "key-0", "Ready", "False", "Suspended")
	q.remove(0)
	q.becomesUsed(most - 1)
	eventually(t, func() string { // admission learns of it later
		if err := q.create(most); err != nil {
			return fmt.Sprintf("after one was deleted: %v", err)
		}
		return ""
	})
}

// inForce waits until the quota is counted, and until admission knows of it by a watch
// of its own: then it counts what it lets in.
func (q *quotaed) inForce() {
	q.Helper()
	q.becomesUsed(0)
	eventually(q.T, func() string {
		if err := q.create(0); err != nil {
			return err.Error()
		}
		defer q.remove(0)
		return q.used(1)
	})
	q.becomesUsed(0)
}

func (q *quotaed) create(i int) error {
	key := rig.Object(q.T, "APIKey", fmt.Sprintf("key-%d", i), "policyRef: {name: plain}")
	_, err := q.keys(q.namespace).Create(q.Context(), key, metav1.CreateOptions{})
	return err
}

// remove deletes a key and waits until it is gone.
func (q *quotaed) remove(i int) {
	q.Helper()
	keys, name := q.keys(q.namespace), fmt.Sprintf("key-%d", i)
	if err := keys.Delete(q.Context(), name, metav1.DeleteOptions{}); err != nil {
		q.Fatal(err)
	}
	eventually(q.T, func() string {
		if _, err := keys.Get(q.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Sprintf("%s is not gone: %v", name, err)
		}
		return ""
	})
}

// becomesUsed waits until so much of the quota is used.
func (q *quotaed) becomesUsed(want int) {
	q.Helper()
	eventually(q.T, func() string { return q.used(want) })
}

// used returns "" if so much of the quota is used.
func (q *quotaed) used(want int) string {
	now, err := q.kube.CoreV1().ResourceQuotas(q.namespace).Get(q.Context(), q.quota, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	if got, known := now.Status.Used[counted]; !known || got.Value() != int64(want) {
		return fmt.Sprintf("%v of the quota are used, want %d", now.Status.Used, want)
	}
	return ""
}
