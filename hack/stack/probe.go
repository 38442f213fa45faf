package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	probeEvery = 100 * time.Millisecond
	probeLimit = 2 * time.Second // one attempt
)

// probe asks a component how it is. A nil error means well.
type probe func(ctx context.Context) error

// httpProbe wants a 200 from url, authenticated with the client certificate
// pki/<client>.pem if client is not empty, and trusting pki/<ca>.pem.
func (s *stack) httpProbe(url, ca, client string) probe {
	return func(ctx context.Context) error {
		transport, err := s.transport(ca, client)
		if err != nil {
			return err
		}
		defer transport.CloseIdleConnections()
		status, _, err := get(ctx, transport, url, "")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%s answers %d", url, status)
		}
		return err
	}
}

func (s *stack) transport(ca, client string) (*http.Transport, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if ca != "" {
		pem, err := os.ReadFile(s.pki(ca))
		if err != nil {
			return nil, err
		}
		config.RootCAs.AppendCertsFromPEM(pem)
	}
	if client != "" {
		certificate, err := tls.LoadX509KeyPair(s.pki(client), s.pkiKey(client))
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return &http.Transport{TLSClientConfig: config}, nil
}

// get requests url, under another host name if host is not empty.
func get(ctx context.Context, transport *http.Transport, url, host string) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	request.Host = host
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, body, err
}

// errDied says that a component's process ended while it was waited for.
var errDied = errors.New("its process ended")

// wait asks a probe until it is content, for as long as the component's process
// lives, and limit at most.
func (s *stack) wait(ctx context.Context, name string, ask probe, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if pids, listErr := s.running(); listErr == nil && pids[name] == 0 {
			err = errDied
		} else if time.Now().Before(deadline) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(probeEvery):
				continue
			}
		}
		return fmt.Errorf("%s: %w; the end of its log:\n%s", name, err, s.logTail(name))
	}
}
