package main

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"
)

// Keys of a TLS Secret.
const (
	keyCertificate = "tls.crt"
	keyKey         = "tls.key"
	keyBundle      = "ca.crt"
)

// leaf is what the server or a client shows, and whom it trusts.
type leaf struct {
	// template has the name, the DNS names and what the certificate is good for.
	template x509.Certificate
}

// renew returns the content that the Secret should have: what it has, as long as
// that will do.
func (l leaf) renew(data map[string][]byte, a *authority, now time.Time, p periods) (map[string][]byte, error) {
	renewed := map[string][]byte{keyBundle: a.bundle(), keyCertificate: data[keyCertificate], keyKey: data[keyKey]}
	held, err := parsePair(data[keyCertificate], data[keyKey])
	if err == nil && l.willDo(held, a, now, p) {
		return renewed, nil
	}
	fresh, err := newPair(l.template, a.signer, now, p.leaf)
	if err != nil {
		return nil, err
	}
	renewed[keyCertificate], renewed[keyKey], err = fresh.pem()
	return renewed, err
}

// willDo reports whether a certificate is the one that is wanted, has more than a
// third of its life left, and is trusted.
func (l leaf) willDo(held *pair, a *authority, now time.Time, p periods) bool {
	return held.left(now) > p.leaf/3 && held.left(now) <= p.leaf &&
		held.certificate.Subject.CommonName == l.template.Subject.CommonName &&
		slices.Equal(held.certificate.DNSNames, l.template.DNSNames) &&
		slices.Equal(held.certificate.ExtKeyUsage, l.template.ExtKeyUsage) &&
		slices.ContainsFunc(a.trusted(), func(c *x509.Certificate) bool { return held.certificate.CheckSignatureFrom(c) == nil })
}

// same reports whether two contents of a Secret are equal.
func same(a, b map[string][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for key, value := range a {
		other, there := b[key]
		if !there || !bytes.Equal(value, other) {
			return false
		}
	}
	return true
}
