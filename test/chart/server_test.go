package chart

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/hack/testbin"
	"keygate.dev/keygate/test/apiserver"
)

const pollEvery = 50 * time.Millisecond

func TestMain(m *testing.M) { apiserver.Main(m) }

// restricted labels a namespace in which a pod that is not restricted is refused.
var restricted = map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}

// newClient is a client of an API server, as cluster admin unless config says else.
func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kubeconfig writes a kubeconfig file for programs.
func kubeconfig(t *testing.T, config *rest.Config) string {
	t.Helper()
	file := clientcmdapi.NewConfig()
	file.Clusters["c"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	file.AuthInfos["c"] = &clientcmdapi.AuthInfo{ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken}
	file.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "c"}
	file.CurrentContext = "c"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*file, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// foreign installs the CRDs of the Prometheus operator and cert-manager on the shared
// API server, once.
var foreign sync.Once

// startWithForeignCRDs returns the shared API server, which then knows every kind of
// object that the chart has.
func startWithForeignCRDs(t *testing.T) *apiserver.Server {
	t.Helper()
	server := apiserver.Start(t)
	foreign.Do(func() { installForeign(t, newClient(t, server.Config)) })
	return server
}

func installForeign(t *testing.T, c client.Client) {
	t.Helper()
	files, err := testbin.ForeignCRDs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crds, err := decode(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, crd := range crds {
			if err := apply(t, c, crd); err != nil {
				t.Fatal(err)
			}
			awaitEstablished(t, c, crd.GetName())
		}
	}
}

// apply applies an object, strictly: a field that the API server does not know is an
// error.
func apply(t *testing.T, c client.Client, object *unstructured.Unstructured, options ...client.ApplyOption) error {
	t.Helper()
	options = append(options, client.FieldOwner("test"), client.ForceOwnership)
	return client.WithFieldValidation(c, "Strict").Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), options...)
}

func awaitEstablished(t *testing.T, c client.Client, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := wait.PollUntilContextCancel(ctx, pollEvery, true, func(ctx context.Context) (bool, error) {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := c.Get(ctx, client.ObjectKey{Name: name}, crd); err != nil {
			return false, err
		}
		for _, condition := range crd.Status.Conditions {
			if condition.Type == apiextensionsv1.Established && condition.Status == apiextensionsv1.ConditionTrue {
				return true, nil
			}
		}
		return false, nil
	}); err != nil {
		t.Fatalf("wait for the CRD %s: %v", name, err)
	}
}

// pods are the pods that an object makes: none, or one.
func pods(t *testing.T, object *unstructured.Unstructured) []*corev1.Pod {
	t.Helper()
	path := map[string][]string{
		"Pod": {}, "Deployment": {"spec", "template"}, "Job": {"spec", "template"}, "CronJob": {"spec", "jobTemplate", "spec", "template"},
	}[object.GetKind()]
	if path == nil {
		return nil
	}
	template, _, err := unstructured.NestedMap(object.Object, append(path, "spec")...)
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(template, &pod.Spec, true); err != nil {
		t.Fatalf("%s: %v", id(object), err)
	}
	pod.GenerateName = "pod-"
	return []*corev1.Pod{pod}
}
