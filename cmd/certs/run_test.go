package main

import (
	"bytes"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"keygate.dev/keygate/test/apiserver"
)

func TestMain(m *testing.M) { apiserver.Main(m) }

// startRenewal works in a namespace of its own on a real API server.
func startRenewal(t *testing.T, log *bytes.Buffer) *renewal {
	t.Helper()
	server := apiserver.Start(t)
	client, err := kubernetes.NewForConfig(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	namespace := server.Namespace("certs", nil)
	name := func(name string) types.NamespacedName {
		return types.NamespacedName{Namespace: namespace, Name: name}
	}
	return newRenewal(options{
		authority: name("ca"), server: name("server"), clients: []types.NamespacedName{name("client")}, serverNames: []string{"extauthz.test"},
		periods: testPeriods, create: true, now: func() time.Time { return testNow }, output: log,
	}, client)
}

// stored returns the three Secrets.
func (r *renewal) stored(t *testing.T) shop {
	t.Helper()
	get := func(name types.NamespacedName) map[string][]byte {
		secret, err := r.client.CoreV1().Secrets(name.Namespace).Get(t.Context(), name.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return secret.Data
	}
	return shop{get(r.authority), get(r.server), get(r.clients[0])}
}

func TestSettle(t *testing.T) {
	var log bytes.Buffer
	r := startRenewal(t, &log)
	for _, step := range []struct {
		what    string
		now     time.Time
		written int
	}{
		{"all is made", testNow, 3}, {"nothing is due", testNow, 0}, {"the leaves are due", testNow.Add(21 * day), 2},
	} {
		log.Reset()
		r.now = func() time.Time { return step.now }
		if err := r.settle(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		if written := strings.Count(log.String(), "Secret written"); written != step.written {
			t.Errorf("%s: %d Secrets were written, want %d", step.what, written, step.written)
		}
		if strings.Contains(log.String(), "BEGIN") {
			t.Error("a key or certificate was logged")
		}
		s := r.stored(t)
		verify(t, step.what, step.now, s.server, s.client, x509.ExtKeyUsageServerAuth)
		verify(t, step.what, step.now, s.client, s.server, x509.ExtKeyUsageClientAuth)
		r.create = false // the later ones are the CronJob's
	}
}

func TestSettleRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		make func(r *renewal) *corev1.Secret
		says string
	}{
		"a Secret that is missing": {func(r *renewal) *corev1.Secret { r.create = false; return nil }, "run helm upgrade"},
		"somebody else's Secret": {func(r *renewal) *corev1.Secret {
			return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: r.server.Name}, StringData: map[string]string{"password": "x"}}
		}, "somebody else's"},
		"an authority that is spoiled": {func(r *renewal) *corev1.Secret {
			return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: r.authority.Name, Labels: map[string]string{partOf: "keygate"}},
				Type: corev1.SecretTypeTLS, StringData: map[string]string{keyCertificate: "x", keyKey: "y"}}
		}, "restored or deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			r := startRenewal(t, &bytes.Buffer{})
			if secret := test.make(r); secret != nil {
				if _, err := r.client.CoreV1().Secrets(r.server.Namespace).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.settle(t.Context()); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %q", err, test.says)
			}
		})
	}
}

// TestSettleGoesOn: certificates that can't be renewed are named, each of them, and the
// others are renewed.
func TestSettleGoesOn(t *testing.T) {
	r := startRenewal(t, &bytes.Buffer{})
	if err := r.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := r.stored(t)
	for _, namespace := range []string{"gone", "gone-too"} {
		r.clients = append(r.clients, types.NamespacedName{Namespace: namespace, Name: "client"})
	}
	later := testNow.Add(21 * day)
	r.now, r.create = func() time.Time { return later }, false
	err := r.settle(t.Context())
	for _, client := range []string{"gone/client", "gone-too/client"} {
		if err == nil || !strings.Contains(err.Error(), client) {
			t.Errorf("%s is not named: %v", client, err)
		}
	}
	after := r.stored(t)
	if bytes.Equal(before.server[keyCertificate], after.server[keyCertificate]) || bytes.Equal(before.client[keyCertificate], after.client[keyCertificate]) {
		t.Error("those that are there were not renewed")
	}
}

// TestTwoAtOnce: the Job and the CronJob at the same moment end with certificates
// that fit each other.
func TestTwoAtOnce(t *testing.T) {
	r := startRenewal(t, &bytes.Buffer{})
	done := make(chan error)
	const racers = 4
	for range racers {
		other := newRenewal(r.options, r.client)
		other.log = r.log
		go func() { done <- other.run(t.Context()) }()
	}
	for range racers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	s := r.stored(t)
	verify(t, "the server's", testNow, s.server, s.client, x509.ExtKeyUsageServerAuth)
	verify(t, "the client's", testNow, s.client, s.server, x509.ExtKeyUsageClientAuth)
	verify(t, "the server's, by the authority's bundle", testNow, s.server, s.authority, x509.ExtKeyUsageServerAuth)
}
