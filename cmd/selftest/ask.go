package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// policyExtension is the context extension by which Envoy names a route's policy.
const policyExtension = "keygate.dev/policy"

// dial prepares a connection to extauthz.
func dial(o options) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if o.cert != "" {
		config, err := tlsConfig(o)
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(config)
	}
	conn, err := grpc.NewClient(o.extauthz, grpc.WithTransportCredentials(creds))
	if err != nil {
		return nil, fmt.Errorf("prepare the connection to extauthz: %w", err)
	}
	return conn, nil
}

func tlsConfig(o options) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(o.cert, o.key)
	if err != nil {
		return nil, fmt.Errorf("load the client's certificate: %w", err)
	}
	ca, err := os.ReadFile(o.ca)
	if err != nil {
		return nil, fmt.Errorf("read the CA file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("the CA file holds no certificate")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: roots}, nil
}

// ask asks about a request as Envoy would, with a token unless it is empty, and
// returns the HTTP status that a caller would get.
func ask(ctx context.Context, conn *grpc.ClientConn, policy, token string) (int, error) {
	headers := map[string]string{":method": "GET", ":path": "/selftest", ":authority": "selftest.invalid"}
	if token != "" {
		headers["authorization"] = "Bearer " + token
	}
	answer, err := authv3.NewAuthorizationClient(conn).Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Path: "/selftest", Host: "selftest.invalid", Scheme: "http", Protocol: "HTTP/1.1", Headers: headers,
		}},
		ContextExtensions: map[string]string{policyExtension: policy},
	}}, grpc.WaitForReady(true))
	if err != nil {
		return 0, fmt.Errorf("ask extauthz: %w", err)
	}
	if answer.GetStatus().GetCode() == int32(codes.OK) {
		return 200, nil
	}
	return int(answer.GetDeniedResponse().GetStatus().GetCode()), nil
}
