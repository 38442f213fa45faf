package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"text/template"
)

//go:embed envoy.yaml.tmpl
var envoyTemplate string

// envoyAddress is where Envoy listens or connects: a socket's path, or host and port.
type envoyAddress struct{ Pipe, Host, Port string }

// bootstrap fills the template.
type bootstrap struct {
	Admin, Gateway, GatewayTLS, Upstream envoyAddress
	Extauthz                             []envoyAddress
	Certificate, Key, AccessLog          string // paths
	Error                                string // what Envoy's own errors say
	TrustedHops                          string // proxies before Envoy that tell whom they speak for; "": not believed
	CheckTimeout                         string // how long Envoy waits for extauthz, such as 1s
}

// gatewayError is what Envoy's own errors say. Keygate's answers don't.
const gatewayError = "The gateway could not complete this request."

// defaultCheckTimeout is for those who would rather have an error than wait.
const defaultCheckTimeout = "1s"

// parseAddress reads what extauthz's --listen takes: host:port or unix:///path.
func parseAddress(address string) (envoyAddress, error) {
	if path, unix := strings.CutPrefix(address, "unix://"); unix {
		return envoyAddress{Pipe: path}, nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return envoyAddress{}, fmt.Errorf("read the address %q: %w", address, err)
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1" // "", 0.0.0.0, localhost
	}
	return envoyAddress{Host: host, Port: port}, nil
}

func (s *stack) loopback(port string) envoyAddress {
	return envoyAddress{Host: "127.0.0.1", Port: fmt.Sprint(s.Ports[port])}
}

// writeBootstrap writes Envoy's configuration.
func (s *stack) writeBootstrap() error {
	b := bootstrap{
		Admin: s.loopback("envoy-admin"), Gateway: s.loopback("gateway"), GatewayTLS: s.loopback("gateway-tls"), Upstream: s.loopback("upstream"),
		Certificate: s.pki("gateway"), Key: s.pkiKey("gateway"), AccessLog: s.logPath("access"), Error: gatewayError,
		TrustedHops: s.TrustedHops, CheckTimeout: cmp.Or(s.CheckTimeout, defaultCheckTimeout),
	}
	for i := range s.Replicas {
		address, err := parseAddress(flagValue(s.extauthzArgs(i), "listen"))
		if err != nil {
			return err
		}
		b.Extauthz = append(b.Extauthz, address)
	}
	text, err := renderBootstrap(b)
	if err != nil {
		return err
	}
	return os.WriteFile(s.path("envoy.yaml"), []byte(text), 0o600)
}

// bootstrapped is the configuration that Envoy last started with, or "".
func (s *stack) bootstrapped() string {
	text, err := os.ReadFile(s.path("envoy.yaml"))
	if err != nil {
		return ""
	}
	return string(text)
}

func renderBootstrap(b bootstrap) (string, error) {
	functions := template.FuncMap{
		"json": func(value any) (string, error) {
			text, err := json.Marshal(value)
			return string(text), err
		},
		"dict": func(pairs ...string) map[string]string {
			values := map[string]string{}
			for i := 0; i+1 < len(pairs); i += 2 {
				values[pairs[i]] = pairs[i+1]
			}
			return values
		},
	}
	parsed, err := template.New("envoy").Funcs(functions).Option("missingkey=error").Parse(envoyTemplate)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = parsed.Execute(&text, b)
	return text.String(), err
}

func (s *stack) envoy() component {
	return component{
		name:    "envoy",
		program: s.Envoy,
		args: []string{"--config-path", s.path("envoy.yaml"), "--disable-hot-restart", "--concurrency", "2", "--log-level", "warning",
			"--file-flush-interval-msec", "200"},
		alive: s.httpProbe("http://"+s.address("envoy-admin")+"/ready", "", ""),
		ready: s.decided,
	}
}

// decided wants a request through each listener to be judged by extauthz: it is
// not when Envoy answers in its stead.
func (s *stack) decided(ctx context.Context) error {
	for _, url := range []string{"http://" + s.address("gateway"), "https://" + s.address("gateway-tls")} {
		transport, err := s.transport("gateway-ca", "")
		if err != nil {
			return err
		}
		status, body, err := get(ctx, transport, url+"/", "nobody.invalid")
		transport.CloseIdleConnections()
		if err != nil {
			return err
		}
		if !isDecision(status, body) {
			return fmt.Errorf("no request through %s is decided: Envoy answers %d", url, status)
		}
	}
	return nil
}

// isDecision reports whether an answer is extauthz's, or the upstream's by its leave.
func isDecision(status int, body []byte) bool {
	return status < http.StatusInternalServerError || len(body) > 0 && !bytes.Contains(body, []byte(gatewayError))
}
