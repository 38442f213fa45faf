package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// hosts are those of the samples.
var hosts = []string{"api.stepsies.com", "api.stairoids.com", "stairoids.example.com", "signal-stack-ten.vercel.app", "*.example.com"}

// upstream is what the gateway leads to, and the ports of the node that lead to the
// gateway.
const upstream = `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: upstream, namespace: gateway}
spec:
  selector: {matchLabels: {app: upstream}}
  template:
    metadata: {labels: {app: upstream}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: upstream
        image: UPSTREAM
        args: ["--listen=:8080"]
        readinessProbe: {tcpSocket: {port: 8080}}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: upstream, namespace: gateway}
spec:
  selector: {app: upstream}
  ports: [{name: http, port: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: envoy-node, namespace: gateway}
spec:
  type: NodePort
  selector: {app: envoy}
  ports:
  - {name: http, port: 80, targetPort: 8080, nodePort: 30880}
  - {name: https, port: 443, targetPort: 8443, nodePort: 30843}
`

// upstreamCluster is Envoy's word for it.
const upstreamCluster = `      clusters:
      - name: upstream
        type: STRICT_DNS
        connect_timeout: 1s
        typed_extension_protocol_options:
          envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
            "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
            use_downstream_protocol_config: {http_protocol_options: {}, http2_protocol_options: {}}
        load_assignment:
          cluster_name: upstream
          endpoints:
          - lb_endpoints:
            - endpoint: {address: {socket_address: {address: upstream.gateway.svc.cluster.local, port_value: 8080}}}
`

// tlsSocket goes before the filters of a listener that speaks TLS.
const tlsSocket = `        - transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                alpn_protocols: [h2, http/1.1]
                tls_certificates:
                - {certificate_chain: {filename: /gateway-tls/tls.crt}, private_key: {filename: /gateway-tls/tls.key}}
          filters:
`

// makeGateway runs the Envoy of config/envoy/gateway.yaml, with all that it says of
// Keygate, before an upstream and with HTTPS too.
func (p *place) makeGateway(ctx context.Context) error {
	say("starting the gateway")
	text, err := gatewayManifest(p.root, p.images["envoy"])
	if err != nil {
		return err
	}
	secret, err := certificate(hosts)
	if err != nil {
		return err
	}
	for _, namespace := range []string{"gateway gateway-tls", "edge stepsies-tls"} {
		at, name, _ := strings.Cut(namespace, " ")
		if err := p.apply(ctx, fmt.Sprintf(secret, name, at)); err != nil {
			return err
		}
	}
	if err := p.apply(ctx, text+strings.ReplaceAll(upstream, "UPSTREAM", p.images["upstream"])); err != nil {
		return err
	}
	// Other programs of this tree may run under the same image names, and another
	// certificate is read at the start only.
	if err := p.kubectlRun(ctx, "", "rollout", "restart", "-n", "gateway", "deployment/envoy", "deployment/upstream"); err != nil {
		return err
	}
	for _, name := range []string{"upstream", "envoy"} {
		if err := p.kubectlRun(ctx, "", "rollout", "status", "-n", "gateway", "deployment/"+name, "--timeout=180s"); err != nil {
			return err
		}
	}
	return nil
}

// gatewayManifest is config/envoy/gateway.yaml with a second listener, an upstream in
// the place of the answer, and another image.
func gatewayManifest(root, image string) (string, error) {
	shipped, err := os.ReadFile(filepath.Join(root, "config", "envoy", "gateway.yaml"))
	if err != nil {
		return "", err
	}
	text, err := edit(string(shipped),
		"direct_response: {status: 200, body: {inline_string: \"let in\\n\"}}", "route: {cluster: upstream}",
		"envoyproxy/envoy:distroless-v1.40.0", image,
		"        - {name: tls, mountPath: /tls, readOnly: true}\n", "        - {name: tls, mountPath: /tls, readOnly: true}\n        - {name: gateway-tls, mountPath: /gateway-tls, readOnly: true}\n",
		"      volumes:\n", "      volumes:\n      - {name: gateway-tls, secret: {secretName: gateway-tls, defaultMode: 0440}}\n")
	if err != nil {
		return "", err
	}
	before, rest, began := strings.Cut(text, "      - name: gateway\n")
	listener, after, ended := strings.Cut(rest, "      clusters:\n")
	if !began || !ended {
		return "", fmt.Errorf("gateway.yaml has no listener gateway before its clusters")
	}
	second, err := edit(listener, "port_value: 8080", "port_value: 8443", "stat_prefix: gateway", "stat_prefix: gateway-tls", "        - filters:\n", tlsSocket)
	if err != nil {
		return "", err
	}
	return before + "      - name: gateway\n" + listener + "      - name: gateway-tls\n" + second + upstreamCluster + after, nil
}

// edit replaces texts, each of which must be there once.
func edit(text string, pairs ...string) (string, error) {
	for i := 0; i < len(pairs); i += 2 {
		if n := strings.Count(text, pairs[i]); n != 1 {
			return "", fmt.Errorf("the manifest has %d times what is to be replaced: %q", n, pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text, nil
}

// certificate is a Secret, its name and namespace left open, with a certificate that
// vouches for itself.
func certificate(names []string) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return "", err
	}
	encode := func(kind string, der []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return "{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: %s, namespace: %s}, data: {tls.crt: " +
		encode("CERTIFICATE", der) + ", ca.crt: " + encode("CERTIFICATE", der) + ", tls.key: " + encode("PRIVATE KEY", private) + "}}\n", nil
}
