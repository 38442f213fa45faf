package ratelimit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// RedisTLS says how a rediss:// server proves who it is, and we to it. The files
// are PEM and are read again for each connection, so that renewed ones count from
// the next on.
type RedisTLS struct {
	// CA signs the server's certificate. "": one that the system trusts does.
	CA string
	// Cert and Key are shown to a server that asks for them; both or neither.
	Cert, Key string
	// ServerName is the name in the server's certificate. "": the host that is
	// dialled, which with a cluster is what the cluster calls its nodes.
	ServerName string
}

// config makes the configuration of a connection.
func (t RedisTLS) config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("read the CA of Redis: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the CA of Redis: %s holds no certificate", t.CA)
		}
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("load the client certificate and key for Redis: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// dialer opens connections, with TLS unless t is nil. The error is that of files
// that can't be used now.
func (t *RedisTLS) dialer() (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	plain := &net.Dialer{}
	if t == nil {
		return plain.DialContext, nil
	}
	if _, err := t.config(); err != nil {
		return nil, err
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		config, err := t.config()
		if err != nil {
			return nil, err
		}
		return (&tls.Dialer{NetDialer: plain, Config: config}).DialContext(ctx, network, address)
	}, nil
}

// credentials are those of the URL, its password replaced by that of the file if
// there is one. The file is read for each connection. The error is that of a file
// that can't be used now.
func credentials(a *redisAddress, file string) (func(context.Context) (username, password string, err error), error) {
	read := func(context.Context) (string, string, error) {
		if file == "" {
			return a.username, a.password, nil
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return "", "", fmt.Errorf("read the password of Redis: %w", err)
		}
		return a.username, strings.TrimRight(string(content), "\r\n"), nil
	}
	if file != "" && a.password != "" {
		return nil, errors.New("the password of Redis is given twice: take it out of the URL or leave the file off")
	}
	_, _, err := read(context.Background())
	return read, err
}
