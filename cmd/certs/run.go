package main

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"keygate.dev/keygate/cmd/internal/kube"
)

// partOf labels the Secrets that this program may write.
const partOf = "app.kubernetes.io/part-of"

// attempts is how often the work begins anew because somebody else wrote a Secret
// meanwhile: the Job and the CronJob may run at once.
const attempts = 5

// run does what is due.
func run(ctx context.Context, o options) error {
	config, err := kube.Config(o.kubeconfig, "keygate-certs")
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a Kubernetes client: %w", err)
	}
	return newRenewal(o, client).run(ctx)
}

// renewal works on the Secrets that the options name.
type renewal struct {
	options
	client kubernetes.Interface
	log    *slog.Logger
}

func newRenewal(o options, client kubernetes.Interface) *renewal {
	return &renewal{options: o, client: client, log: slog.New(slog.NewJSONHandler(o.output, nil))}
}

// run settles, again if somebody else wrote meanwhile.
func (r *renewal) run(ctx context.Context) (err error) {
	for range attempts {
		if err = r.settle(ctx); !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return fmt.Errorf("somebody else keeps writing the Secrets: %w", err)
}

// settle brings the authority up to date, then what it signs. Nothing is signed by
// an authority that was not stored.
func (r *renewal) settle(ctx context.Context) error {
	secret, err := r.read(ctx, r.authority)
	if err != nil {
		return err
	}
	now := r.now()
	a, err := parseAuthority(secret.Data)
	if err != nil {
		return fmt.Errorf("read the certificate authority %s, which must be restored or deleted: %w", r.authority, err)
	}
	if err := a.renew(now, r.periods); err != nil {
		return err
	}
	data, err := a.data()
	if err != nil {
		return err
	}
	if err := r.store(ctx, secret, data); err != nil {
		return err
	}
	var failures []error
	for name, leaf := range r.leaves() {
		failures = append(failures, r.settleLeaf(ctx, name, leaf, a, now))
	}
	return errors.Join(failures...)
}

// settleLeaf brings one certificate up to date. Where it can't, such as in a namespace
// that is gone, the others go on.
func (r *renewal) settleLeaf(ctx context.Context, name types.NamespacedName, l leaf, a *authority, now time.Time) error {
	secret, err := r.read(ctx, name)
	if err != nil {
		return err
	}
	data, err := l.renew(secret.Data, a, now, r.periods)
	if err != nil {
		return fmt.Errorf("renew the certificate of the Secret %s: %w", name, err)
	}
	return r.store(ctx, secret, data)
}

// leaves maps the Secrets of the server and the clients to what is in them.
func (r *renewal) leaves() map[types.NamespacedName]leaf {
	all := map[types.NamespacedName]leaf{r.server: {x509.Certificate{
		Subject:     pkix.Name{CommonName: "extauthz"},
		DNSNames:    r.serverNames,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}}}
	for _, client := range r.clients {
		all[client] = leaf{x509.Certificate{
			Subject:     pkix.Name{CommonName: "client " + client.String()},
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}}
	}
	return all
}

// read returns a Secret; one without a resource version is yet to be made.
func (r *renewal) read(ctx context.Context, name types.NamespacedName) (*corev1.Secret, error) {
	secret, err := r.client.CoreV1().Secrets(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	if err == nil && (secret.Labels[partOf] != "keygate" || secret.Type != corev1.SecretTypeTLS) {
		return nil, fmt.Errorf("the Secret %s is somebody else's: it is not of type %s, or not labelled %s=keygate", name, corev1.SecretTypeTLS, partOf)
	}
	if err == nil {
		return secret, nil
	}
	if !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read the Secret %s: %w", name, err)
	}
	if !r.create {
		return nil, fmt.Errorf("read the Secret %s, which only the Job of an installation or upgrade makes, run helm upgrade: %w", name, err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, Labels: map[string]string{partOf: "keygate"}},
		Type:       corev1.SecretTypeTLS,
	}, nil
}

// store writes a Secret if its content changes.
func (r *renewal) store(ctx context.Context, secret *corev1.Secret, data map[string][]byte) error {
	if same(secret.Data, data) {
		return nil
	}
	secret.Data = data
	secrets, err := r.client.CoreV1().Secrets(secret.Namespace), error(nil)
	if secret.ResourceVersion == "" {
		_, err = secrets.Create(ctx, secret, metav1.CreateOptions{})
	} else {
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("write the Secret %s/%s: %w", secret.Namespace, secret.Name, err)
	}
	held, err := parsePair(data[keyCertificate], data[keyKey])
	if err != nil {
		return err
	}
	r.log.Info("Secret written", "namespace", secret.Namespace, "name", secret.Name, "certificateUntil", held.certificate.NotAfter)
	return nil
}
