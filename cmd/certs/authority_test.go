package main

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

var (
	testPeriods = periods{authority: 130 * day, leaf: 30 * day}
	testNow     = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	testServer  = leaf{x509.Certificate{Subject: pkix.Name{CommonName: "extauthz"}, DNSNames: []string{"extauthz.test"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}}
	testClient  = leaf{x509.Certificate{Subject: pkix.Name{CommonName: "client"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}}
)

// shop is the content of the three Secrets.
type shop struct{ authority, server, client map[string][]byte }

// run does what one run of the program does, over what is stored.
func (s shop) run(t *testing.T, now time.Time) shop {
	t.Helper()
	a, err := parseAuthority(s.authority)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.renew(now, testPeriods); err != nil {
		t.Fatal(err)
	}
	var next shop
	if next.authority, err = a.data(); err != nil {
		t.Fatal(err)
	}
	if next.server, err = testServer.renew(s.server, a, now, testPeriods); err != nil {
		t.Fatal(err)
	}
	if next.client, err = testClient.renew(s.client, a, now, testPeriods); err != nil {
		t.Fatal(err)
	}
	return next
}

// verify fails unless a certificate is trusted by the bundle of the other side.
func verify(t *testing.T, what string, now time.Time, shown, trusting map[string][]byte, usage x509.ExtKeyUsage) {
	t.Helper()
	certificates, err := parseCertificates(shown[keyCertificate])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(trusting[keyBundle]) {
		t.Fatal("the bundle holds no certificate")
	}
	if _, err := certificates[0].Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
		t.Fatalf("%s, %s: %v", now.Format(time.DateOnly), what, err)
	}
}

// TestThreeYears runs day by day. Each side may hold what it was given up to
// a week ago; they trust each other every day, and authorities come and go.
func TestThreeYears(t *testing.T) {
	const late = 7
	authorities := map[string]bool{}
	history := []shop{shop{}.run(t, testNow)}
	for now := testNow.Add(day); now.Before(testNow.Add(3 * 365 * day)); now = now.Add(day) {
		s := history[len(history)-1].run(t, now)
		history = append(history, s)
		authorities[string(s.authority[keyCertificate])] = true
		old := history[max(0, len(history)-1-late)]
		for _, pairing := range []struct {
			what           string
			server, client map[string][]byte
		}{
			{"both new", s.server, s.client}, {"an old server", old.server, s.client}, {"an old client", s.server, old.client},
		} {
			verify(t, pairing.what+", the server's", now, pairing.server, pairing.client, x509.ExtKeyUsageServerAuth)
			verify(t, pairing.what+", the client's", now, pairing.client, pairing.server, x509.ExtKeyUsageClientAuth)
		}
		if bundle, err := parseCertificates(s.authority[keyBundle]); err != nil || len(bundle) > 2 {
			t.Fatalf("%d authorities are trusted, %v", len(bundle), err)
		}
	}
	if len(authorities) < 10 {
		t.Errorf("there were %d authorities in three years", len(authorities))
	}
}

// TestNothingIsDue: a run that has nothing to do changes nothing.
func TestNothingIsDue(t *testing.T) {
	first := shop{}.run(t, testNow)
	second := first.run(t, testNow.Add(19*day))
	if !same(first.authority, second.authority) || !same(first.server, second.server) || !same(first.client, second.client) {
		t.Error("certificates were renewed early")
	}
	behind := first.run(t, testNow.Add(-time.Hour))
	if !same(first.authority, behind.authority) {
		t.Error("a clock that is behind replaced the authority")
	}
}

// TestAfterYears: where nobody renewed anything until all had expired, all is made
// anew.
func TestAfterYears(t *testing.T) {
	first := shop{}.run(t, testNow)
	for name, later := range map[string]time.Duration{"leaves expired": 31 * day, "all expired": 1000 * day} {
		t.Run(name, func(t *testing.T) {
			now := testNow.Add(later)
			s := first.run(t, now)
			verify(t, "the server's", now, s.server, s.client, x509.ExtKeyUsageServerAuth)
			verify(t, "the client's", now, s.client, s.server, x509.ExtKeyUsageClientAuth)
		})
	}
}

// TestRolesDiffer: neither certificate does for the other side, and neither signs.
func TestRolesDiffer(t *testing.T) {
	s := shop{}.run(t, testNow)
	for name, test := range map[string]struct {
		data  map[string][]byte
		usage x509.ExtKeyUsage
	}{
		"the server as a client": {s.server, x509.ExtKeyUsageClientAuth},
		"a client as the server": {s.client, x509.ExtKeyUsageServerAuth},
	} {
		t.Run(name, func(t *testing.T) {
			certificates, err := parseCertificates(test.data[keyCertificate])
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(s.authority[keyBundle])
			options := x509.VerifyOptions{Roots: roots, CurrentTime: testNow, KeyUsages: []x509.ExtKeyUsage{test.usage}}
			if _, err := certificates[0].Verify(options); err == nil || certificates[0].IsCA {
				t.Error("it does")
			}
		})
	}
}

// TestSpoiledAuthority: what cannot be read is never written over.
func TestSpoiledAuthority(t *testing.T) {
	good, other := shop{}.run(t, testNow).authority, shop{}.run(t, testNow).authority
	for name, test := range map[string]struct {
		key   string
		value []byte
		says  string
	}{
		"no certificate":       {keyCertificate, nil, "0 certificates"},
		"another's key":        {keyKey, other[keyKey], "does not belong"},
		"no key":               {keyKey, nil, "no private key"},
		"a key that is broken": {keyKey, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "cannot be read"},
		"text in the bundle":   {keyBundle, []byte("hello"), "something else"},
		"half a successor":     {keyNextCertificate, other[keyCertificate], "the next one"},
	} {
		t.Run(name, func(t *testing.T) {
			data := map[string][]byte{keyCertificate: good[keyCertificate], keyKey: good[keyKey], keyBundle: good[keyBundle], test.key: test.value}
			if _, err := parseAuthority(data); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %q", err, test.says)
			}
		})
	}
}
