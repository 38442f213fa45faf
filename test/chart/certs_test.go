package chart

import (
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/test/apiserver"
)

// certsProgram builds cmd/certs.
func certsProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "certs")
	if _, err := run(t.Context(), "go", "build", "-o", program, "keygate.dev/keygate/cmd/certs"); err != nil {
		t.Fatal(err)
	}
	return program
}

// certs runs the program as the pod of a Job or CronJob would.
func certs(t *testing.T, program string, config *rest.Config, job *unstructured.Unstructured) error {
	t.Helper()
	args := slices.Clone(pods(t, job)[0].Spec.Containers[0].Args)
	_, err := run(t.Context(), program, append(args, "--kubeconfig="+kubeconfig(t, config))...)
	return err
}

// serverNames are the DNS names of the server's certificate.
func serverNames(t *testing.T, c client.Client, namespace string) []string {
	t.Helper()
	secret := &corev1.Secret{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "keygate-extauthz-tls"}, secret); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(secret.Data[corev1.TLSCertKey])
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate.DNSNames
}

// TestCertificates: with the rights and arguments that the chart gives them, the Job
// makes the Secrets and the CronJob renews them; neither can do more.
func TestCertificates(t *testing.T) {
	server := apiserver.Start(t)
	c, program := newClient(t, server.Config), certsProgram(t)
	system, edge := server.Namespace("chart", nil), server.Namespace("edge", nil)
	render := func(args ...string) Objects {
		return Render(t, append(args, "--namespace="+system, "--set=tls.clients."+edge+"=keygate")...)
	}
	objects := render()
	for _, object := range objects {
		kind := object.GetKind()
		if strings.HasPrefix(object.GetName(), "keygate-certs") && (kind == "ServiceAccount" || kind == "Role" || kind == "RoleBinding") {
			if err := apply(t, c, object); err != nil {
				t.Fatal(err)
			}
		}
	}
	setup, renewal := server.ServiceAccount(system, "keygate-certs-setup"), server.ServiceAccount(system, "keygate-certs")
	job, cronJob := objects.Find("Job", "keygate-certs-setup"), objects.Find("CronJob", "keygate-certs")

	if err := certs(t, program, renewal, cronJob); err == nil || !strings.Contains(err.Error(), "run helm upgrade") {
		t.Errorf("the CronJob before the Job: %v", err)
	}
	if err := certs(t, program, setup, job); err != nil {
		t.Fatalf("the Job: %v", err)
	}
	if err := certs(t, program, renewal, cronJob); err != nil {
		t.Errorf("the CronJob: %v", err)
	}
	for _, name := range []string{"keygate-extauthz." + system + ".svc", "keygate-extauthz." + system + ".svc.cluster.local"} {
		if names := serverNames(t, c, system); !slices.Contains(names, name) {
			t.Errorf("the server's names %v lack %s", names, name)
		}
	}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: edge, Name: "keygate"}, &corev1.Secret{}); err != nil {
		t.Errorf("the client elsewhere: %v", err)
	}

	// An upgrade with another name: the CronJob alone would do it too.
	again := render("--set=tls.extraServerNames={authz.internal}")
	if err := certs(t, program, renewal, again.Find("CronJob", "keygate-certs")); err != nil {
		t.Error(err)
	}
	if names := serverNames(t, c, system); !slices.Contains(names, "authz.internal") {
		t.Errorf("the server's names are %v", names)
	}
	confined(t, newClient(t, renewal), system, false)
	confined(t, newClient(t, setup), system, true)
}

// confined tries what the accounts must not do.
func confined(t *testing.T, c client.Client, namespace string, creates bool) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "other"}}
	if err := c.Create(t.Context(), secret.DeepCopy(), client.DryRunAll); apierrors.IsForbidden(err) == creates {
		t.Errorf("creates a Secret: %v", err)
	}
	for what, err := range map[string]error{
		"reads another Secret":   c.Get(t.Context(), client.ObjectKeyFromObject(secret), secret),
		"reads the root Secret":  c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "keygate-root"}, secret.DeepCopy()),
		"lists Secrets":          c.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace)),
		"deletes its own Secret": c.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "keygate-ca"}}),
		"writes another one":     c.Update(t.Context(), secret.DeepCopy()),
	} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
