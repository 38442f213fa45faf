package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// certificateLife is longer than anybody keeps a stack up.
const certificateLife = 10 * 365 * 24 * time.Hour

// gatewayNames are the names that the HTTPS listener's certificate holds, next to
// loopback's: the hosts of the samples, for `curl --resolve`.
var gatewayNames = []string{"localhost", "*.localhost", "api.stepsies.com", "api.stairoids.com", "signal-stack-ten.vercel.app", "*.example.com"}

// authority is a certificate authority whose key stays in memory: after `up`
// nobody can add a certificate to the stack.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func (s *stack) pki(name string) string    { return s.path("pki", name+".pem") }
func (s *stack) pkiKey(name string) string { return s.path("pki", name+"-key.pem") }

// makeCertificates writes all certificates and keys: one authority each for etcd,
// the cluster and the gateway, so that a client of one is nobody to the others.
func (s *stack) makeCertificates() error {
	etcd, etcdErr := s.newAuthority("etcd-ca")
	cluster, clusterErr := s.newAuthority("cluster-ca")
	gateway, gatewayErr := s.newAuthority("gateway-ca")
	if err := errors.Join(etcdErr, clusterErr, gatewayErr); err != nil {
		return err
	}
	return errors.Join(
		s.issue(etcd, "etcd", x509.Certificate{DNSNames: []string{"localhost"}, ExtKeyUsage: both}),
		s.issue(etcd, "etcd-client", x509.Certificate{Subject: pkix.Name{CommonName: "kube-apiserver"}, ExtKeyUsage: client}),
		s.issue(cluster, "apiserver", x509.Certificate{DNSNames: []string{"localhost"}, ExtKeyUsage: server}),
		s.issue(cluster, "controller-manager", x509.Certificate{DNSNames: []string{"localhost"}, ExtKeyUsage: server}),
		s.issue(cluster, "admin", x509.Certificate{Subject: pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}, ExtKeyUsage: client}),
		s.issue(cluster, "controller-manager-client", x509.Certificate{Subject: pkix.Name{CommonName: "system:kube-controller-manager"}, ExtKeyUsage: client}),
		s.issue(gateway, "gateway", x509.Certificate{DNSNames: gatewayNames, ExtKeyUsage: server}),
		s.newServiceAccountKey(),
	)
}

var (
	server = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	client = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	both   = append(server[:1:1], client...)
)

func (s *stack) newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := x509.Certificate{
		Subject: pkix.Name{CommonName: "keygate stack " + name},
		IsCA:    true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := sign(template, nil, key, key)
	if err != nil {
		return nil, fmt.Errorf("make the authority %s: %w", name, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{certificate, key}, writePEM(s.pki(name), "CERTIFICATE", der, 0o644)
}

// issue writes a certificate that ca signs, and its key. Servers' are good for loopback.
func (s *stack) issue(ca *authority, name string, template x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	if len(template.DNSNames) > 0 {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
		template.Subject.CommonName = name
	}
	der, err := sign(template, ca.certificate, key, ca.key)
	if err != nil {
		return fmt.Errorf("issue the certificate %s: %w", name, err)
	}
	return errors.Join(writePEM(s.pki(name), "CERTIFICATE", der, 0o644), writeKey(s.pkiKey(name), key))
}

// sign returns a certificate in DER; a nil parent makes it sign itself.
func sign(template x509.Certificate, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Minute)
	template.NotAfter = template.NotBefore.Add(certificateLife)
	if parent == nil {
		parent = &template
	}
	return x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, signer)
}

// newServiceAccountKey writes the key with which the API server signs tokens.
func (s *stack) newServiceAccountKey() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	return errors.Join(writePEM(s.pki("service-accounts"), "PUBLIC KEY", public, 0o644), writeKey(s.pkiKey("service-accounts"), key))
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "EC PRIVATE KEY", der, 0o600)
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
