package main

import (
	"crypto/x509"
	"maps"
	"testing"
	"time"
)

// TestLeafIsRenewed: for these reasons, and for no other.
func TestLeafIsRenewed(t *testing.T) {
	s := shop{}.run(t, testNow)
	for name, test := range map[string]struct {
		change  func(l *leaf, data map[string][]byte, p *periods)
		later   time.Duration
		renewed bool
	}{
		"nothing changed":           {renewed: false},
		"just over a third is left": {later: 20*day - time.Hour, renewed: false},
		"a third is left":           {later: 20 * day, renewed: true},
		"it is expired":             {later: 30 * day, renewed: true},
		"another DNS name":          {change: func(l *leaf, _ map[string][]byte, _ *periods) { l.template.DNSNames = []string{"other.test"} }, renewed: true},
		"another name":              {change: func(l *leaf, _ map[string][]byte, _ *periods) { l.template.Subject.CommonName = "other" }, renewed: true},
		"another use": {change: func(l *leaf, _ map[string][]byte, _ *periods) {
			l.template.ExtKeyUsage = testClient.template.ExtKeyUsage
		}, renewed: true},
		"a shorter life is wanted": {change: func(_ *leaf, _ map[string][]byte, p *periods) { p.leaf = 10 * day }, renewed: true},
		"no key":                   {change: func(_ *leaf, data map[string][]byte, _ *periods) { delete(data, keyKey) }, renewed: true},
		"another authority's":      {change: func(_ *leaf, data map[string][]byte, _ *periods) { maps.Copy(data, shop{}.run(t, testNow).server) }, renewed: true},
	} {
		t.Run(name, func(t *testing.T) {
			l, data, p := testServer, maps.Clone(s.server), testPeriods
			if test.change != nil {
				test.change(&l, data, &p)
			}
			a, err := parseAuthority(s.authority)
			if err != nil {
				t.Fatal(err)
			}
			got, err := l.renew(data, a, testNow.Add(test.later), p)
			if err != nil {
				t.Fatal(err)
			}
			if renewed := !same(got, data); renewed != test.renewed {
				t.Errorf("renewed: %v", renewed)
			}
			verify(t, "the server's", testNow.Add(test.later), got, got, l.template.ExtKeyUsage[0])
		})
	}
}

// TestKeysAreNew: a renewed certificate has a new key.
func TestKeysAreNew(t *testing.T) {
	first := shop{}.run(t, testNow)
	second := first.run(t, testNow.Add(20*day))
	if string(first.server[keyKey]) == string(second.server[keyKey]) {
		t.Error("the key is the same")
	}
	pair, err := parsePair(second.server[keyCertificate], second.server[keyKey])
	if err != nil || pair.certificate.PublicKeyAlgorithm != x509.ECDSA {
		t.Errorf("got %v, %v", pair, err)
	}
}
