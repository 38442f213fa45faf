// Package checker asks a running extauthz whose a token is, in the words in which Envoy
// does. The token goes over the connection that it is given and nowhere else.
package checker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"keygate.dev/keygate/pkg/authz"
	"keygate.dev/keygate/pkg/policy"
)

// policyExtension names the policy that is to judge (see pkg/authz).
const policyExtension = "keygate.dev/policy"

// Question is a request that somebody might send.
type Question struct {
	// Policy is the "namespace/name" that is to judge it.
	Policy string
	// Method, Path and Host of the request.
	Method, Path, Host string
	// Credential is where the token stands.
	Credential policy.Credential
	// Token is the key.
	Token []byte
}

// Answer is what extauthz tells operators of a request.
type Answer struct {
	// Allowed: the request would go upstream.
	Allowed bool
	// Reason and Detail of the verdict.
	Reason, Detail string
	// KeyID of the token; unknown ones have one, too.
	KeyID string
	// Policy that judged.
	Policy string
	// Namespace and Name of the APIKey; "": nobody's.
	Namespace, Name string
	// Environment, Plan and Scopes of the key, as in force.
	Environment, Plan string
	Scopes            []string
}

// Known reports whether the token is some APIKey's.
func (a *Answer) Known() bool { return a.Name != "" }

// Valid reports whether the key itself is good, whatever the request was.
func (a *Answer) Valid() bool {
	switch policy.Reason(a.Reason) {
	case authz.Allowed, policy.AddressDenied, policy.InsufficientScope, policy.PlanRequired, policy.RateLimited:
		return a.Known()
	}
	return false
}

// Options say how extauthz is reached.
type Options struct {
	// Plaintext: no TLS. To another machine the token would go over the network for all
	// to read, so that has to be asked for.
	Plaintext bool
	// CA, Cert and Key are PEM files: what signs extauthz's certificate, and what is
	// shown to it where it asks. "": the system's, and none.
	CA, Cert, Key string
	// ServerName in extauthz's certificate, where it is not the address's.
	ServerName string
}

// TLS reports whether anything about TLS was said.
func (o *Options) TLS() bool { return o.CA != "" || o.Cert != "" || o.ServerName != "" }

// ErrPlaintext is returned where a token would go over a network in the clear.
var ErrPlaintext = errors.New("the key would go over the network in the clear")

// Dial connects to extauthz. Without a word about TLS, a loopback address is spoken to
// without it, and any other is refused with [ErrPlaintext].
func Dial(address string, o Options) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	switch {
	case o.TLS():
		config, err := o.config()
		if err != nil {
			return nil, err
		}
		transport = credentials.NewTLS(config)
	case !o.Plaintext && !loopback(address):
		return nil, ErrPlaintext
	}
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(transport), grpc.WithNoProxy(),
		grpc.WithUserAgent("kubectl-apikey"))
}

// loopback reports whether an address never leaves the machine.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// config is how TLS is spoken.
func (o *Options) config() (*tls.Config, error) {
	config := &tls.Config{ServerName: o.ServerName, MinVersion: tls.VersionTLS13}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", o.CA)
		}
	}
	if o.Cert != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// Ask asks. The error never holds the token.
func Ask(ctx context.Context, conn grpc.ClientConnInterface, q Question) (*Answer, error) {
	response, err := authv3.NewAuthorizationClient(conn).Check(ctx, q.request())
	if err != nil {
		return nil, fmt.Errorf("ask extauthz: %w", err)
	}
	return answerOf(response), nil
}

// request is the question as Envoy would put it. The connection claims to have come in
// over TLS, because a key is good or not whatever the connection.
func (q *Question) request() *authv3.CheckRequest {
	headers := map[string]string{":method": q.Method, ":path": q.Path, ":authority": q.Host}
	path := q.Path
	if q.Credential.Query != "" {
		path += "?" + q.Credential.Query + "=" + string(q.Token)
	} else {
		value := string(q.Token)
		if q.Credential.Scheme != "" {
			value = q.Credential.Scheme + " " + value
		}
		headers[q.Credential.Header] = value
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Destination:       &authv3.AttributeContext_Peer{Principal: "kubectl-apikey"},
		ContextExtensions: map[string]string{policyExtension: q.Policy},
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 1},
		}}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: q.Method, Path: path, Host: q.Host, Scheme: "https", Protocol: "HTTP/1.1", Headers: headers,
		}},
	}}
}

// answerOf reads what extauthz tells operators.
func answerOf(response *authv3.CheckResponse) *Answer {
	fields := response.GetDynamicMetadata().GetFields()
	text := func(name string) string { return fields[name].GetStringValue() }
	answer := &Answer{
		Allowed: response.GetStatus() != nil && codes.Code(response.GetStatus().GetCode()) == codes.OK,
		Reason:  text("reason"), Detail: text("detail"), KeyID: text("keyId"), Policy: text("policy"),
		Namespace: text("namespace"), Name: text("name"), Environment: text("environment"), Plan: text("plan"),
	}
	for _, scope := range fields["scopes"].GetListValue().GetValues() {
		answer.Scopes = append(answer.Scopes, scope.GetStringValue())
	}
	return answer
}
