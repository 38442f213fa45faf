package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/test/apiserver"
)

func TestMain(m *testing.M) {
	klog.SetLogger(logr.Discard())
	apiserver.Main(m)
}

// tenant is a cluster as an admin in a namespace of its own sees it. No controller
// runs: the tests write what it would.
func tenant(t *testing.T) (*Cluster, *apiserver.Server) {
	t.Helper()
	server := apiserver.Start(t)
	c, err := New(server.Config, server.Namespace("tenant", nil))
	must(t, err)
	return c, server
}

// newKey creates an APIKey.
func newKey(t *testing.T, c *Cluster, name string) *v1alpha1.APIKey {
	t.Helper()
	key := &v1alpha1.APIKey{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: name}}
	key.Spec.PolicyRef.Name = "stepsies"
	must(t, c.Create(t.Context(), key, false))
	return key
}

// deliver creates a Secret such as a token is delivered in.
func deliver(t *testing.T, c *Cluster, key *v1alpha1.APIKey, change func(*corev1.Secret)) *corev1.Secret {
	t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: SecretName(key), Annotations: map[string]string{"keygate.dev/key-id": "0123456789abcdef"},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(key, v1alpha1.GroupVersion.WithKind("APIKey"))},
		},
		Type: "keygate.dev/token",
		Data: map[string][]byte{"token": []byte("sk_1")},
	}
	if change != nil {
		change(secret)
	}
	must(t, c.client.Create(t.Context(), secret))
	return secret
}

// TestCollect: the Secret that was read is deleted, and no other.
func TestCollect(t *testing.T) {
	c, server := tenant(t)
	t.Run("as it was read", func(t *testing.T) {
		key := newKey(t, c, "plain")
		secret := deliver(t, c, key, nil)
		d, err := c.Delivery(t.Context(), key)
		must(t, err)
		if string(d.Token) != "sk_1" || d.KeyID != "0123456789abcdef" {
			t.Errorf("delivered key %s", d.KeyID)
		}
		must(t, c.Collect(t.Context(), key, d))
		if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); !apierrors.IsNotFound(err) {
			t.Errorf("it is there: %v", err)
		}
		key, err = c.Key(t.Context(), "plain")
		must(t, err)
		if got := key.Annotations["keygate.dev/collected"]; got != d.KeyID {
			t.Errorf("collected is said of %q", got)
		}
		must(t, c.Collect(t.Context(), key, d)) // gone by now, which is well
	})
	t.Run("another token by now", func(t *testing.T) {
		key := newKey(t, c, "raced")
		secret := deliver(t, c, key, nil)
		d, err := c.Delivery(t.Context(), key)
		must(t, err)
		secret.Data["token"] = []byte("sk_2")
		must(t, c.client.Update(t.Context(), secret))
		must(t, c.Collect(t.Context(), key, d))
		must(t, c.client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret))
	})
	t.Run("without the right to delete it", func(t *testing.T) {
		key := newKey(t, c, "limited")
		deliver(t, c, key, nil)
		limited := as(t, server, c.Namespace, "limited",
			rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}})
		d, err := limited.Delivery(t.Context(), key)
		must(t, err)
		if err := limited.Collect(t.Context(), key, d); !apierrors.IsForbidden(err) {
			t.Errorf("left behind without a word: %v", err)
		}
		telling := as(t, server, c.Namespace, "telling",
			rbacv1.PolicyRule{APIGroups: []string{"keygate.dev"}, Resources: []string{"apikeys"}, Verbs: []string{"get", "patch"}})
		must(t, telling.Collect(t.Context(), key, d)) // the controller deletes it
	})
}

// TestDeliveryOfOthers: a Secret that is not the APIKey's is never taken for its token.
func TestDeliveryOfOthers(t *testing.T) {
	c, _ := tenant(t)
	for name, change := range map[string]func(*corev1.Secret){
		"another-type":  func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque },
		"no-owner":      func(s *corev1.Secret) { s.OwnerReferences = nil },
		"another-owner": func(s *corev1.Secret) { s.OwnerReferences[0].UID = "other" },
		"no-token":      func(s *corev1.Secret) { s.Data = map[string][]byte{"other": []byte("x")} },
	} {
		key := newKey(t, c, name)
		deliver(t, c, key, change)
		if d, err := c.Delivery(t.Context(), key); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
	if _, err := c.Delivery(t.Context(), newKey(t, c, "nothing")); !apierrors.IsNotFound(err) {
		t.Errorf("nothing delivered: %v", err)
	}
}

// TestEdit: of edits at the same time none is lost, and a key that was replaced
// meanwhile is not edited in its place.
func TestEdit(t *testing.T) {
	c, _ := tenant(t)
	newKey(t, c, "busy")
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			_, err := c.Edit(t.Context(), "busy", false, func(key *v1alpha1.APIKey) (map[string]any, error) {
				return map[string]any{"description": key.Spec.Description + "x"}, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	key, err := c.Key(t.Context(), "busy")
	must(t, err)
	if key.Spec.Description != "xxxxxx" {
		t.Errorf("of 6 edits %d are there", len(key.Spec.Description))
	}
	stop := errors.New("stop")
	if _, err := c.Edit(t.Context(), "busy", false, func(*v1alpha1.APIKey) (map[string]any, error) { return nil, stop }); !errors.Is(err, stop) {
		t.Errorf("an edit that was given up: %v", err)
	}
	if _, err := c.Edit(t.Context(), "none", false, nil); !apierrors.IsNotFound(err) {
		t.Errorf("an edit of nothing: %v", err)
	}
}

// TestWaitReady: what the controller says is waited for, a refusal that stands is
// believed, one that does not is not, and a key that is deleted is not waited for.
func TestWaitReady(t *testing.T) {
	c, _ := tenant(t)
	yes := func(*v1alpha1.APIKey) bool { return true }
	say := func(key *v1alpha1.APIKey, status metav1.ConditionStatus, reason string) {
		t.Helper()
		fresh, err := c.Key(t.Context(), key.Name)
		must(t, err)
		fresh.Status.Conditions = []metav1.Condition{{
			Type: "Ready", Status: status, Reason: reason, Message: "m", ObservedGeneration: fresh.Generation, LastTransitionTime: metav1.Now(),
		}}
		must(t, c.client.Status().Update(t.Context(), fresh))
	}
	t.Run("ready", func(t *testing.T) {
		key := newKey(t, c, "ready")
		say(key, metav1.ConditionFalse, "Pending")
		say(key, metav1.ConditionFalse, "PolicyNotFound") // for a moment
		go say(key, metav1.ConditionTrue, "Active")
		got, err := c.WaitReady(t.Context(), key, yes)
		must(t, err)
		if Ready(got).Reason != "Active" {
			t.Errorf("ready is %+v", Ready(got))
		}
	})
	t.Run("refused", func(t *testing.T) {
		key := newKey(t, c, "refused")
		say(key, metav1.ConditionFalse, "ScopesNotGranted")
		begin := time.Now()
		_, err := c.WaitReady(t.Context(), key, yes)
		if refusal, ok := IsRefusal(err); !ok || refusal.Reason != "ScopesNotGranted" || time.Since(begin) < refusalStands {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
	t.Run("an older form's status counts for nothing", func(t *testing.T) {
		key := newKey(t, c, "edited")
		say(key, metav1.ConditionTrue, "Active")
		key, err := c.Edit(t.Context(), "edited", false, func(*v1alpha1.APIKey) (map[string]any, error) {
			return map[string]any{"scopes": []string{"read"}}, nil
		})
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, err := c.WaitReady(ctx, key, yes); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
	t.Run("deleted", func(t *testing.T) {
		key := newKey(t, c, "deleted")
		go func() { _ = c.client.Delete(context.Background(), key.DeepCopy()) }()
		if _, err := c.WaitReady(t.Context(), key, yes); !apierrors.IsNotFound(err) {
			t.Errorf("%v", err)
		}
	})
}

// TestKeysInPages: more keys than a page holds are all listed.
func TestKeysInPages(t *testing.T) {
	c, _ := tenant(t)
	const n = pageSize + 7
	var wg sync.WaitGroup
	for part := range 8 {
		wg.Go(func() {
			for i := part; i < n; i += 8 {
				key := &v1alpha1.APIKey{ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: fmt.Sprintf("k-%d", i)}}
				key.Spec.PolicyRef.Name = "p"
				if err := c.Create(t.Context(), key, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	list, err := c.Keys(t.Context(), c.Namespace, nil)
	must(t, err)
	if len(list.Items) != n {
		t.Errorf("%d are listed, want %d", len(list.Items), n)
	}
}

// as is the cluster as a user with rules alone sees it.
func as(t *testing.T, server *apiserver.Server, namespace, user string, rules ...rbacv1.PolicyRule) *Cluster {
	t.Helper()
	kube, err := kubernetes.NewForConfig(server.Config)
	must(t, err)
	name := metav1.ObjectMeta{Namespace: namespace, Name: user}
	_, err = kube.RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{ObjectMeta: name, Rules: rules}, metav1.CreateOptions{})
	must(t, err)
	_, err = kube.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: name, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user}, Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	must(t, err)
	config := server.ConfigFor(user)
	server.AwaitRights(config, namespace, rules...)
	c, err := New(config, namespace)
	must(t, err)
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
