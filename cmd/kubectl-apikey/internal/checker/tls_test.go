package checker

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/authz"
	"keygate.dev/keygate/pkg/policy"
	"keygate.dev/keygate/pkg/ratelimit"
)

// TestAskOverTLS: extauthz is asked only where it shows the certificate that is
// expected, and gets the one that it asks for.
func TestAskOverTLS(t *testing.T) {
	dir := t.TempDir()
	pair, other := newPair(t, dir, "extauthz"), newPair(t, dir, "other")
	address := serve(t, authz.TLSFiles{Cert: pair.cert, Key: pair.key, ClientCA: pair.cert})
	for name, tc := range map[string]struct {
		options Options
		ok      bool
	}{
		"as it ought to be":         {Options{CA: pair.cert, Cert: pair.cert, Key: pair.key, ServerName: "extauthz"}, true},
		"no certificate shown":      {Options{CA: pair.cert, ServerName: "extauthz"}, false},
		"a stranger's certificate":  {Options{CA: pair.cert, Cert: other.cert, Key: other.key, ServerName: "extauthz"}, false},
		"extauthz is a stranger":    {Options{CA: other.cert, Cert: pair.cert, Key: pair.key, ServerName: "extauthz"}, false},
		"extauthz has another name": {Options{CA: pair.cert, Cert: pair.cert, Key: pair.key, ServerName: "another"}, false},
		"without TLS":               {Options{Plaintext: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := Dial(address, tc.options)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			answer, err := Ask(ctx, conn, Question{
				Policy: "n/p", Method: "GET", Path: "/a", Host: "h", Credential: policy.Credential{Header: "authorization", Scheme: "bearer"}, Token: []byte("sk_1"),
			})
			if (err == nil) != tc.ok {
				t.Fatalf("%+v, %v", answer, err)
			}
			if tc.ok && (answer.Reason != "allowed" || answer.Name != "ci" || answer.Namespace != "acme" || len(answer.Scopes) != 1 || answer.Policy != "n/p" || !answer.Valid()) {
				t.Errorf("answers %+v", answer)
			}
		})
	}
}

// serve runs an extauthz that knows every token as one key.
func serve(t *testing.T, files authz.TLSFiles) string {
	t.Helper()
	source := &policy.Source{Namespace: "n", Name: "p", UID: "u", Spec: v1alpha1.APIKeyPolicySpec{
		Environments: []v1alpha1.Environment{{Name: "live", Prefix: "sk_"}},
		Scopes:       []v1alpha1.Scope{{Name: "read"}},
		Rules:        []v1alpha1.Rule{{Paths: []v1alpha1.PathPattern{"/a"}, Scopes: []v1alpha1.ScopeName{"read"}}},
	}}
	compiled, err := policy.Compile(source)
	if err != nil {
		t.Fatal(err)
	}
	table := policy.NewTable([]policy.Entry{policy.NewEntry(source, compiled)})
	server, err := authz.NewServer(authz.ServerOptions{
		Decider: &authz.Decider{
			Keys: everyToken{compiled.Ref()}, Policies: func() *policy.Table { return table }, Synced: func() bool { return true }, Now: time.Now,
			Limiter: ratelimit.NewMemory(ratelimit.Options{MaxKeys: 1, Registerer: prometheus.NewRegistry()}),
		},
		TLS: files, Decisions: authz.LogNone, DrainTimeout: time.Second, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// everyToken knows every token as the key of one APIKey.
type everyToken struct{ policy apikey.Ref }

// Digests implements [authz.Keys].
func (everyToken) Digests(dst []apikey.Digest, _ []byte) []apikey.Digest {
	return append(dst, apikey.Digest{1})
}

// Lookup implements [authz.Keys].
func (e everyToken) Lookup(context.Context, apikey.Digest) (*apikey.Record, error) {
	return &apikey.Record{
		Digest: apikey.Digest{1}, Pepper: 1, Serial: 1, Policy: e.policy, Environment: "live", Scopes: []string{"read"}, State: apikey.Active,
		Owner: apikey.Ref{Namespace: "acme", Name: "ci", UID: "u"},
	}, nil
}

// pair is the files of a certificate that signs itself, and of its key.
type pair struct{ cert, key string }

// newPair makes one.
func newPair(t *testing.T, dir, name string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := pair{cert: filepath.Join(dir, name+".crt"), key: filepath.Join(dir, name+".key")}
	for path, block := range map[string]*pem.Block{files.cert: {Type: "CERTIFICATE", Bytes: der}, files.key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}
