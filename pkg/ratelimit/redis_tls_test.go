package ratelimit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// authority signs certificates.
type authority struct {
	tb   testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(tb testing.TB) *authority {
	a := &authority{tb: tb, dir: tb.TempDir()}
	a.issue("ca")
	return a
}

// path of a file of the authority.
func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// write puts a PEM block into a file.
func (a *authority) write(name, kind string, der []byte) {
	a.tb.Helper()
	if err := os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.tb.Fatal(err)
	}
}

// issue makes name.crt and name.key: the first are the authority's own.
func (a *authority) issue(name string) {
	a.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"redis"},
		IsCA: a.cert == nil, BasicConstraintsValid: true,
	}
	if a.cert == nil {
		a.cert, a.key = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.tb.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.tb.Fatal(err)
	}
	a.write(name+".crt", "CERTIFICATE", der)
	a.write(name+".key", "PRIVATE KEY", keyDER)
}

// files are those of a client that trusts ca and has its certificate from a.
func (a *authority) files(ca *authority) RedisTLS {
	return RedisTLS{CA: ca.path("ca.crt"), Cert: a.path("client.crt"), Key: a.path("client.key")}
}

// startRedisTLS starts a server that speaks only TLS, and only with those who show
// a certificate and log in. Its user may do what the doc comment of RedisOptions
// names, and say whether the server is there.
func startRedisTLS(tb testing.TB, a *authority) *server {
	tb.Helper()
	a.issue("server")
	a.issue("client")
	secure := a.files(a)
	dial, err := secure.dialer()
	if err != nil {
		tb.Fatal(err)
	}
	port := freePort(tb)
	address := net.JoinHostPort("127.0.0.1", port)
	s := &server{tb: tb, url: "rediss://limiter:s3cr3t@" + address}
	s.options = &redis.Options{Addr: address, DialerRetries: 1, Username: "limiter", Password: "s3cr3t", Dialer: dial}
	s.arguments = []string{
		"--port", "0", "--tls-port", port, "--tls-auth-clients", "yes",
		"--tls-cert-file", a.path("server.crt"), "--tls-key-file", a.path("server.key"), "--tls-ca-cert-file", a.path("ca.crt"),
		"--user", "default", "off", "--user", "limiter", "on", ">s3cr3t", "~keygate:*",
		"+evalsha", "+eval", "+time", "+get", "+set", "+ping",
	}
	s.start()
	return s
}

func TestRedisTLS(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	stranger.issue("client")
	s := startRedisTLS(t, a)
	password := filepath.Join(t.TempDir(), "password")
	write(t, password, "s3cr3t\n")
	named, misnamed := a.files(a), a.files(a)
	named.ServerName, misnamed.ServerName = "redis", "other"
	for name, tc := range map[string]struct {
		options RedisOptions
		fails   bool
		want    string // part of the error; "": the connection breaks in one of several ways
	}{
		"all is right":            {RedisOptions{URL: s.url, TLS: a.files(a)}, false, ""},
		"the password in a file":  {RedisOptions{URL: strings.Replace(s.url, ":s3cr3t", "", 1), PasswordFile: password, TLS: a.files(a)}, false, ""},
		"the server's other name": {RedisOptions{URL: s.url, TLS: named}, false, ""},
		"not the server's name":   {RedisOptions{URL: s.url, TLS: misnamed}, true, "certificate is valid for redis"},
		"another CA":              {RedisOptions{URL: s.url, TLS: a.files(stranger)}, true, "unknown authority"},
		"the system's CAs":        {RedisOptions{URL: s.url}, true, "unknown authority"},
		"another's certificate":   {RedisOptions{URL: s.url, TLS: stranger.files(a)}, true, ""},
		"no certificate":          {RedisOptions{URL: s.url, TLS: RedisTLS{CA: a.path("ca.crt")}}, true, ""},
		"no password":             {RedisOptions{URL: strings.Replace(s.url, "limiter:s3cr3t@", "", 1), TLS: a.files(a)}, true, "NOAUTH"},
		"another password":        {RedisOptions{URL: strings.Replace(s.url, "s3cr3t", "guess", 1), TLS: a.files(a)}, true, "WRONGPASS"},
		"another prefix":          {RedisOptions{URL: s.url, TLS: a.files(a), Prefix: "other:"}, true, "NOPERM"},
		"no TLS":                  {RedisOptions{URL: strings.Replace(s.url, "rediss", "redis", 1)}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newTestRedis(t, tc.options).Take(t.Context(), "a", hour(1000), 1)
			if tc.fails != (err != nil) {
				t.Fatalf("got %v", err)
			}
			if err != nil && (!strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cr3t")) {
				t.Errorf("got %q, want %q", err, tc.want)
			}
		})
	}
}

// TestRedisReadsFilesAgain puts the right files in the place of wrong ones while
// the client runs.
func TestRedisReadsFilesAgain(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	stranger.issue("client")
	s := startRedisTLS(t, a)
	password := stranger.path("password")
	write(t, password, "guess")
	r := newTestRedis(t, RedisOptions{URL: strings.Replace(s.url, ":s3cr3t", "", 1), PasswordFile: password, TLS: stranger.files(stranger)})
	fails := func(want string) {
		t.Helper()
		eventually(t, func() error {
			if _, err := r.Take(t.Context(), "a", hour(5), 1); err == nil || !strings.Contains(err.Error(), want) {
				return fmt.Errorf("got %w, want %s", err, want)
			}
			return nil
		})
	}
	replace := func(name string) {
		t.Helper()
		content, err := os.ReadFile(a.path(name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, stranger.path(name), string(content))
	}
	fails("unknown authority")
	replace("ca.crt")
	replace("client.crt")
	replace("client.key")
	fails("WRONGPASS")
	write(t, password, "s3cr3t")
	eventually(t, func() error {
		_, err := r.Take(t.Context(), "a", hour(5), 1)
		return err
	})
}

func write(tb testing.TB, path, content string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
}
