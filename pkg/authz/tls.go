package authz

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// TLSFiles are PEM files. They are read again at each handshake, which is rare with
// Envoy's long connections, so that a renewed certificate counts from the next
// connection on.
type TLSFiles struct {
	// Cert and Key of the server; both or neither. Neither: no TLS.
	Cert, Key string
	// ClientCA signs the certificates that clients must show; "": they need none.
	ClientCA string
}

// Credentials are the transport credentials for the server. The error is that of
// files that can't be used now; later ones are logged, and the last good files
// stay in use. Where there is TLS, registerer gets both ends of the certificate.
func (f TLSFiles) Credentials(log *slog.Logger, registerer prometheus.Registerer) (credentials.TransportCredentials, error) {
	if f == (TLSFiles{}) {
		return insecure.NewCredentials(), nil
	}
	if f.Cert == "" || f.Key == "" {
		return nil, errors.New("TLS needs both a certificate and its key")
	}
	r := &reloader{files: f, log: log}
	if err := r.reload(); err != nil {
		return nil, err
	}
	for _, end := range r.validity() {
		if err := registerer.Register(end); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return credentials.NewTLS(&tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.config(), nil },
	}), nil
}

// reloader keeps the TLS configuration of files that change.
type reloader struct {
	files TLSFiles
	log   *slog.Logger

	mu sync.Mutex
	// cert, key and ca are the contents that current was made from.
	cert, key, ca []byte
	current       *tls.Config
}

// config is the configuration of the newest good files.
func (r *reloader) config() *tls.Config {
	if err := r.reload(); err != nil {
		r.log.Error("TLS files could not be read again; the last good ones stay in use", "error", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// validity tells, at each scrape, both ends of the certificate that the next connection
// is shown: one that nobody renews is seen to near the second, however long it lasts.
func (r *reloader) validity() []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "keygate_tls_certificate_not_before_timestamp_seconds",
			Help: "When the certificate that is shown to Envoy begins to be valid, in seconds since the Unix epoch.",
		}, func() float64 { return float64(r.config().Certificates[0].Leaf.NotBefore.Unix()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "keygate_tls_certificate_expiration_timestamp_seconds",
			Help: "When the certificate that is shown to Envoy expires, in seconds since the Unix epoch.",
		}, func() float64 { return float64(r.config().Certificates[0].Leaf.NotAfter.Unix()) }),
	}
}

// reload makes the configuration anew if a file has changed.
func (r *reloader) reload() error {
	cert, certErr := os.ReadFile(r.files.Cert)
	key, keyErr := os.ReadFile(r.files.Key)
	ca, caErr := r.readClientCA()
	if err := errors.Join(certErr, keyErr, caErr); err != nil {
		return fmt.Errorf("read TLS files: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil && bytes.Equal(cert, r.cert) && bytes.Equal(key, r.key) && bytes.Equal(ca, r.ca) {
		return nil
	}
	config, err := newTLSConfig(cert, key, ca)
	if err != nil {
		return err
	}
	r.cert, r.key, r.ca, r.current = cert, key, ca, config
	return nil
}

// readClientCA reads the client CA, if there is one.
func (r *reloader) readClientCA() ([]byte, error) {
	if r.files.ClientCA == "" {
		return nil, nil
	}
	return os.ReadFile(r.files.ClientCA)
}

// newTLSConfig makes a configuration from PEM; a nil ca asks for no client
// certificate.
func newTLSConfig(cert, key, ca []byte) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("load the server's certificate and key: %w", err)
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2"},
		// A resumed session would not be checked against a client CA that changed.
		SessionTicketsDisabled: true,
	}
	if ca == nil {
		return config, nil
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(ca) {
		return nil, errors.New("the client CA file holds no certificate")
	}
	return config, nil
}
