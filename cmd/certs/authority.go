package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"time"
)

// Keys of an authority's Secret beside those of every TLS Secret.
const (
	keyNextCertificate = "next.crt"
	keyNextKey         = "next.key"
)

// authority signs certificates. It is replaced without a moment in which two sides
// do not trust each other: its successor is trusted for a while before it signs, and
// it is trusted itself until it expires, which is after all that it signed.
type authority struct {
	signer *pair
	// next is trusted already and signs later; nil most of the time.
	next *pair
	// former signers, trusted until they expire.
	former []*x509.Certificate
}

// renew does what is due.
func (a *authority) renew(now time.Time, p periods) error {
	a.former = slices.DeleteFunc(a.former, func(c *x509.Certificate) bool { return !now.Before(c.NotAfter) })
	if a.next != nil && (a.trustedLongEnough(now, p) || a.signer.left(now) <= 0) {
		a.former = append(a.former, a.signer.certificate)
		a.signer, a.next = a.next, nil
	}
	if a.signer == nil || a.signer.left(now) <= 0 {
		signer, err := newAuthority(now, p)
		*a = authority{signer: signer}
		return err
	}
	if a.next == nil && a.signer.left(now) < 2*p.leaf {
		next, err := newAuthority(now, p)
		a.next = next
		return err
	}
	return nil
}

// trustedLongEnough reports whether the successor has reached everybody: a third of
// the life of a certificate has gone by. More than a whole one is then left of the
// signer, so that all that it signed ends before it does.
func (a *authority) trustedLongEnough(now time.Time, p periods) bool {
	return now.Sub(a.next.certificate.NotBefore) >= p.leaf/3
}

// newAuthority makes a certificate that may sign others. Its name is its own: two in
// one bundle are not taken for each other.
func newAuthority(now time.Time, p periods) (*pair, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	return newPair(x509.Certificate{
		Subject:               pkix.Name{CommonName: fmt.Sprintf("Keygate authority %x", serial.Bytes()[:4])},
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, nil, now, p.authority)
}

// trusted is every certificate to trust.
func (a *authority) trusted() []*x509.Certificate {
	all := []*x509.Certificate{a.signer.certificate}
	if a.next != nil {
		all = append(all, a.next.certificate)
	}
	return append(all, a.former...)
}

// bundle is the same in PEM.
func (a *authority) bundle() []byte { return encodeCertificates(a.trusted()...) }

// parseAuthority reads the data of a Secret. No data is an authority that is yet to
// be made.
func parseAuthority(data map[string][]byte) (*authority, error) {
	if len(data) == 0 {
		return &authority{}, nil
	}
	signer, err := parsePair(data[keyCertificate], data[keyKey])
	if err != nil {
		return nil, err
	}
	a := &authority{signer: signer}
	if len(data[keyNextCertificate]) > 0 {
		if a.next, err = parsePair(data[keyNextCertificate], data[keyNextKey]); err != nil {
			return nil, fmt.Errorf("the next one: %w", err)
		}
	}
	trusted, err := parseCertificates(data[keyBundle])
	if err != nil {
		return nil, err
	}
	a.former = slices.DeleteFunc(trusted, func(c *x509.Certificate) bool {
		return c.Equal(signer.certificate) || a.next != nil && c.Equal(a.next.certificate)
	})
	return a, nil
}

// data is the content of the Secret.
func (a *authority) data() (map[string][]byte, error) {
	certificate, key, err := a.signer.pem()
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{keyCertificate: certificate, keyKey: key, keyBundle: a.bundle()}
	if a.next != nil {
		data[keyNextCertificate], data[keyNextKey], err = a.next.pem()
	}
	return data, err
}
