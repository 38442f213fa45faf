package reconcile

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/keysecret"
)

// TestReseal rotates the seal key: once everything is sealed with the new one, the
// old one can go, and every key works as before.
func TestReseal(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	active, revoked := c.issued("active"), c.issued("revoked")
	c.patch(revoked, `{"spec":{"state":"Revoked"}}`)
	c.becomes(revoked, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
	want := c.digestsOf(active)
	stop()

	root := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: keysecret.RootName}}
	key := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", keysecret.SealKeySize)))
	c.patch(root, `{"data":{"seal-2":"`+key+`"}}`)
	stop = c.start()
	c.eventually(func() error {
		old := &corev1.SecretList{}
		must(t, c.admin.List(t.Context(), old, client.InNamespace(keysNamespace), client.MatchingLabels{keysecret.LabelSeal: "1"}))
		if len(old.Items) > 0 {
			return fmt.Errorf("%d Secrets are sealed with the old key, such as %s", len(old.Items), old.Items[0].Name)
		}
		return nil
	})
	stop()
	all := &corev1.SecretList{}
	must(t, c.admin.List(t.Context(), all, client.InNamespace(keysNamespace)))
	for i := range all.Items {
		if seal := string(all.Items[i].Data["seal"]); !strings.HasPrefix(seal, "2:") {
			t.Errorf("%s is sealed with version %.2s", all.Items[i].Name, seal)
		}
	}

	c.patch(root, `{"data":{"seal-1":null}}`)
	c.start()
	c.patch(active, `{"spec":{"scopes":["read","write"]}}`)
	c.eventually(func() error {
		must(t, c.get(active))
		if len(active.Status.Scopes) != 2 {
			return fmt.Errorf("status: %+v", active.Status)
		}
		return nil
	})
	c.becomes(active, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	c.becomes(revoked, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
	if got := c.digestsOf(active); len(got) != 1 || len(want) != 1 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("records %v, want %v", got, want)
	}
}
