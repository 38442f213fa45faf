package authz

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

func newTestRegistry() *prometheus.Registry { return prometheus.NewRegistry() }

func discard() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	// life of what it signs, beyond an hour.
	life time.Duration
}

func newAuthority(tb testing.TB, name string) *authority {
	tb.Helper()
	a := &authority{}
	a.cert, a.key, a.pem = certificate(tb, name, nil)
	return a
}

// certificate makes a certificate that by signs; nil: one that signs itself.
func certificate(tb testing.TB, name string, by *authority) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"keygate"}, IsCA: by == nil, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
		template.NotAfter = template.NotAfter.Add(by.life)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// issue writes a certificate and its key, signed by a, over files.
func (a *authority) issue(tb testing.TB, name string, files TLSFiles) {
	tb.Helper()
	_, key, cert := certificate(tb, name, a)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	write(tb, files.Cert, cert)
	write(tb, files.Key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

func write(tb testing.TB, path string, data []byte) {
	tb.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// filesIn are the names of TLS files in a directory.
func filesIn(dir string) TLSFiles {
	return TLSFiles{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), ClientCA: filepath.Join(dir, "ca.crt")}
}

// serverName makes a call and returns the name in the server's certificate.
func serverName(tb testing.TB, address string, config *tls.Config) (string, error) {
	tb.Helper()
	var name string
	config = config.Clone()
	config.ServerName = "keygate"
	config.VerifyConnection = func(state tls.ConnectionState) error {
		name = state.PeerCertificates[0].Subject.CommonName
		return nil
	}
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		tb.Fatal(err)
	}
	defer func() {
		if err := conn.Close(); err != nil {
			tb.Error(err)
		}
	}()
	out, err := authv3.NewAuthorizationClient(conn).Check(tb.Context(), envoyRequest(request(), true))
	if err == nil && out.GetOkResponse() == nil {
		tb.Errorf("got %v", out)
	}
	return name, err
}

// serveOn serves the fixture on a real listener until the test ends.
func serveOn(tb testing.TB, lis net.Listener, o ServerOptions) {
	tb.Helper()
	o.Registerer, o.DrainTimeout = newTestRegistry(), 5*time.Second
	server, err := NewServer(o)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, lis) }()
	tb.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
}

func TestMutualTLSFollowsItsFiles(t *testing.T) {
	dir := t.TempDir()
	files := filesIn(dir)
	servers, clients, others := newAuthority(t, "servers"), newAuthority(t, "clients"), newAuthority(t, "others")
	servers.issue(t, "first", files)
	write(t, files.ClientCA, clients.pem)
	var log bytes.Buffer
	lis, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, lis, ServerOptions{Decider: newFixture(t).Decider, TLS: files, Log: slog.New(slog.NewTextHandler(&log, nil))})

	roots := x509.NewCertPool()
	roots.AddCert(servers.cert)
	nobody := &tls.Config{RootCAs: roots}
	holder := func(a *authority) *tls.Config {
		own := filesIn(t.TempDir())
		a.issue(t, "envoy", own)
		pair, err := tls.LoadX509KeyPair(own.Cert, own.Key)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
	}
	expect := func(what, want string, config *tls.Config) {
		t.Helper()
		got, err := serverName(t, lis.Addr().String(), config)
		if (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%s: the server is %q, want %q: %v", what, got, want, err)
		}
	}
	client, stranger := holder(clients), holder(others)
	expect("a client", "first", client)
	expect("no certificate", "", nobody)
	expect("a stranger", "", stranger)

	servers.issue(t, "second", files)
	expect("after a renewal", "second", client)
	write(t, files.ClientCA, others.pem)
	expect("a stranger that is trusted now", "second", stranger)
	expect("a client that no longer is", "", client)

	if log.Len() > 0 {
		t.Errorf("log: %s", log.String())
	}
	for name, path := range map[string]string{"certificate": files.Cert, "client CA": files.ClientCA} {
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, []byte("no certificate"))
		expect("with a broken "+name, "second", stranger)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		expect("without a "+name, "second", stranger)
		write(t, path, good)
	}
	if got := strings.Count(log.String(), "last good ones stay"); got != 4 {
		t.Errorf("the failures are told %d times, want 4", got)
	}
	if strings.Contains(log.String(), "PRIVATE KEY") {
		t.Error("a key is in the log")
	}
}

// TestCertificateValidity: what is told at a scrape is of the files as they are then,
// and of the last good ones where they are none.
func TestCertificateValidity(t *testing.T) {
	files := filesIn(t.TempDir())
	a := newAuthority(t, "a")
	write(t, files.ClientCA, a.pem)
	registry := newTestRegistry()
	expect := func(want [2]float64) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]float64{}
		for _, family := range families {
			told[family.GetName()] = family.GetMetric()[0].GetGauge().GetValue()
		}
		if diff := cmp.Diff(map[string]float64{
			"keygate_tls_certificate_not_before_timestamp_seconds": want[0], "keygate_tls_certificate_expiration_timestamp_seconds": want[1],
		}, told); diff != "" {
			t.Errorf("want (-), told (+):\n%s", diff)
		}
	}
	a.issue(t, "first", files)
	first := validity(t, files)
	if _, err := files.Credentials(discard(), registry); err != nil {
		t.Fatal(err)
	}
	expect(first)
	a.life += 24 * time.Hour
	a.issue(t, "second", files)
	last := validity(t, files)
	if last[1] <= first[1] {
		t.Fatal("the renewed certificate does not last longer")
	}
	expect(last)
	write(t, files.Cert, []byte("no certificate"))
	expect(last)
}

// TestNoCertificateValidity: without TLS there is nothing to expire.
func TestNoCertificateValidity(t *testing.T) {
	registry := newTestRegistry()
	if _, err := (TLSFiles{}).Credentials(discard(), registry); err != nil {
		t.Fatal(err)
	}
	if families, err := registry.Gather(); err != nil || len(families) != 0 {
		t.Errorf("got %v, %v", families, err)
	}
}

// validity is when the certificate in files begins and ends, in seconds since the Unix
// epoch.
func validity(tb testing.TB, files TLSFiles) [2]float64 {
	tb.Helper()
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		tb.Fatal(err)
	}
	return [2]float64{float64(pair.Leaf.NotBefore.Unix()), float64(pair.Leaf.NotAfter.Unix())}
}

func TestTLSWithoutClientCA(t *testing.T) {
	files := filesIn(t.TempDir())
	files.ClientCA = ""
	servers := newAuthority(t, "servers")
	servers.issue(t, "only", files)
	lis, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, lis, ServerOptions{Decider: newFixture(t).Decider, TLS: files, Log: discard()})
	roots := x509.NewCertPool()
	roots.AddCert(servers.cert)
	if name, err := serverName(t, lis.Addr().String(), &tls.Config{RootCAs: roots}); err != nil || name != "only" {
		t.Errorf("the server is %q: %v", name, err)
	}
	if _, err := serverName(t, lis.Addr().String(), &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	conn, err := grpc.NewClient("passthrough:///"+lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), envoyRequest(request(), true)); err == nil {
		t.Error("plaintext is answered")
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestTLSFilesRefused(t *testing.T) {
	good := filesIn(t.TempDir())
	a := newAuthority(t, "a")
	a.issue(t, "a", good)
	write(t, good.ClientCA, a.pem)
	other := filesIn(t.TempDir())
	a.issue(t, "b", other)
	empty := filepath.Join(t.TempDir(), "empty")
	write(t, empty, nil)
	for name, files := range map[string]TLSFiles{
		"only a certificate":       {Cert: good.Cert},
		"only a key":               {Key: good.Key},
		"only a client CA":         {ClientCA: good.ClientCA},
		"a certificate and a CA":   {Cert: good.Cert, ClientCA: good.ClientCA},
		"a key and a CA":           {Key: good.Key, ClientCA: good.ClientCA},
		"another's key":            {Cert: good.Cert, Key: other.Key},
		"an empty client CA":       {Cert: good.Cert, Key: good.Key, ClientCA: empty},
		"a client CA that is none": {Cert: good.Cert, Key: good.Key, ClientCA: good.Key},
		"a client CA nowhere":      {Cert: good.Cert, Key: good.Key, ClientCA: empty + "x"},
		"a key nowhere":            {Cert: good.Cert, Key: empty + "x"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := files.Credentials(discard(), newTestRegistry()); err == nil {
				t.Error("they are taken")
			}
		})
	}
	if _, err := good.Credentials(discard(), newTestRegistry()); err != nil {
		t.Error(err)
	}
}
