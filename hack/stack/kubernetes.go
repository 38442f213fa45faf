package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
)

// controllers of kube-controller-manager that run: owner references are collected,
// namespaces can be deleted, quotas count, and the roles admin, edit and view
// have their rules. There are no pods, so nothing else is needed.
const controllers = "garbage-collector-controller,namespace-controller,resourcequota-controller,clusterrole-aggregation-controller"

func (s *stack) etcd() component {
	url, peer := "https://"+s.address("etcd"), "https://"+s.address("etcd-peer")
	healthy := s.httpProbe(url+"/health", "etcd-ca", "etcd-client")
	return component{
		name:    "etcd",
		program: filepath.Join(s.Assets, "etcd"),
		args: []string{
			"--name=stack", "--data-dir=" + s.path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=" + url, "--advertise-client-urls=" + url,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=stack=" + peer,
			"--client-cert-auth", "--trusted-ca-file=" + s.pki("etcd-ca"), "--cert-file=" + s.pki("etcd"), "--key-file=" + s.pkiKey("etcd"),
			"--peer-client-cert-auth", "--peer-trusted-ca-file=" + s.pki("etcd-ca"), "--peer-cert-file=" + s.pki("etcd"), "--peer-key-file=" + s.pkiKey("etcd"),
		},
		alive: healthy, ready: healthy,
	}
}

func (s *stack) apiserver() component {
	url := "https://" + s.address("apiserver")
	return component{
		name:    "apiserver",
		program: filepath.Join(s.Assets, "kube-apiserver"),
		args: []string{
			"--etcd-servers=https://" + s.address("etcd"), "--etcd-cafile=" + s.pki("etcd-ca"),
			"--etcd-certfile=" + s.pki("etcd-client"), "--etcd-keyfile=" + s.pkiKey("etcd-client"),
			"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", s.Ports["apiserver"]),
			"--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
			"--tls-cert-file=" + s.pki("apiserver"), "--tls-private-key-file=" + s.pkiKey("apiserver"),
			"--client-ca-file=" + s.pki("cluster-ca"), "--anonymous-auth=false", "--authorization-mode=RBAC",
			"--service-account-issuer=" + url, "--service-account-key-file=" + s.pki("service-accounts"),
			"--service-account-signing-key-file=" + s.pkiKey("service-accounts"),
			"--encryption-provider-config=" + s.path("encryption.yaml"), "--profiling=false",
			"--audit-policy-file=" + s.path("audit.yaml"), "--audit-log-path=" + s.logPath("audit"),
		},
		alive: s.httpProbe(url+"/livez", "cluster-ca", "admin"),
		ready: s.httpProbe(url+"/readyz", "cluster-ca", "admin"),
	}
}

func (s *stack) controllerManager() component {
	kubeconfig := s.path("controller-manager.kubeconfig")
	healthy := s.httpProbe("https://"+s.address("controller-manager")+"/healthz", "cluster-ca", "")
	return component{
		name:    "controller-manager",
		program: filepath.Join(s.Assets, "kube-controller-manager"),
		args: []string{
			"--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
			"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", s.Ports["controller-manager"]),
			"--tls-cert-file=" + s.pki("controller-manager"), "--tls-private-key-file=" + s.pkiKey("controller-manager"),
			"--controllers=" + controllers, "--use-service-account-credentials", "--leader-elect=false",
		},
		alive: healthy, ready: healthy,
	}
}

// writeEncryption makes the key under which the API server encrypts Secrets before
// they reach etcd.
func (s *stack) writeEncryption() error {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	return os.WriteFile(s.path("encryption.yaml"), fmt.Appendf(nil, `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - secretbox:
      keys:
      - {name: stack, secret: %s}
`, base64.StdEncoding.EncodeToString(key)), 0o600)
}

// writeKubeconfig writes a kubeconfig whose user is given as YAML flow content.
func (s *stack) writeKubeconfig(path, user string) error {
	return os.WriteFile(path, fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: stack
contexts:
- {name: stack, context: {cluster: stack, user: stack}}
clusters:
- {name: stack, cluster: {server: "https://%s", certificate-authority: %q}}
users:
- {name: stack, user: {%s}}
`, s.address("apiserver"), s.pki("cluster-ca"), user), 0o600)
}

// certificateUser authenticates a kubeconfig by pki/<name>.pem.
func (s *stack) certificateUser(name string) string {
	return fmt.Sprintf("client-certificate: %q, client-key: %q", s.pki(name), s.pkiKey(name))
}
