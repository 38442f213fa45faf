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

// TestQuota: a ResourceQuota bounds how many APIKeys a namespace has, as the
// documentation says.
func TestQuota(t *testing.T) {
	const counted corev1.ResourceName = "count/apikeys.keygate.dev"
	s := shared
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(newHost()))
	quotas := s.kube.CoreV1().ResourceQuotas(ns)
	quota, err := quotas.Create(t.Context(), quotaInDocs(t), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hard := quota.Spec.Hard[counted]
	most := int(hard.Value())
	if most < 2 {
		t.Fatalf("the quota is %v", quota.Spec.Hard)
	}
	used := func(want int) {
		t.Helper()
		eventually(t, func() string {
			now, err := quotas.Get(t.Context(), quota.Name, metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			if got, known := now.Status.Used[counted]; !known || got.Value() != int64(want) {
				return fmt.Sprintf("%v of the quota are used, want %d", now.Status.Used, want)
			}
			return ""
		})
	}
	create := func(i int) error {
		name := fmt.Sprintf("key-%d", i)
		_, err := s.keys(ns).Create(t.Context(), rig.Object(t, "APIKey", name, "policyRef: {name: plain}"), metav1.CreateOptions{})
		return err
	}
	used(0) // nothing is counted before
	for i := range most {
		if err := create(i); err != nil {
			t.Fatalf("key %d of %d: %v", i+1, most, err)
		}
	}
	used(most)
	if err := create(most); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "exceeded quota") {
		t.Errorf("a key beyond the quota: %v", err)
	}
	s.wait(t, s.keys(ns), "key-0", "Ready", "True", "Active") // the controller's writes are not in its way
	s.patch(t, ns, "key-0", `{"spec":{"state":"Suspended"}}`)
	s.wait(t, s.keys(ns), "key-0", "Ready", "False", "Suspended")
	if err := s.keys(ns).Delete(t.Context(), "key-0", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	used(most - 1)
	if err := create(most); err != nil {
		t.Errorf("after one was deleted: %v", err)
	}
}
