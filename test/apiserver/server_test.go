package apiserver_test

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"keygate.dev/keygate/test/apiserver"
)

func TestMain(m *testing.M) { apiserver.Main(m) }

func clientFor(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestAuthorizationIsInForce(t *testing.T) {
	server := apiserver.Start(t)
	namespace := server.Namespace("tenant", nil)
	stranger := clientFor(t, server.ConfigFor("jane", "tenants"))
	if _, err := stranger.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a user without roles lists Secrets: got %v, want forbidden", err)
	}
	admin := clientFor(t, server.Config)
	if _, err := admin.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("the admin lists Secrets: %v", err)
	}
}

func TestTestsOfAProcessShareOneServer(t *testing.T) {
	if first, second := apiserver.Start(t), apiserver.Start(t); first.Config.Host != second.Config.Host {
		t.Errorf("got %s and %s", first.Config.Host, second.Config.Host)
	}
}

func TestShippedIdentitiesAuthenticate(t *testing.T) {
	server := apiserver.Start(t)
	for name, config := range map[string]*rest.Config{"controller": server.Controller(), "extauthz": server.Extauthz()} {
		t.Run(name, func(t *testing.T) {
			_, err := clientFor(t, config).CoreV1().Secrets(metav1.NamespaceSystem).List(t.Context(), metav1.ListOptions{})
			if !apierrors.IsForbidden(err) {
				t.Errorf("lists the Secrets of kube-system: got %v, want forbidden", err)
			}
		})
	}
}

func TestOwnServerKeepsItsDataOverARestart(t *testing.T) {
	server := apiserver.StartOwn(t)
	admin := clientFor(t, server.Config)
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}
	if _, err := admin.CoreV1().ConfigMaps("default").Create(t.Context(), config, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		server.Stop()
		if _, err := admin.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err == nil {
			t.Error("a stopped API server answered")
		}
		server.Restart()
		if _, err := admin.CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
			t.Errorf("after a restart: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(server.DataDir, "member")); err != nil {
		t.Errorf("etcd's files: %v", err)
	}
}
