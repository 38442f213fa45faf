//go:build tools

// Package kubernetes pins the Kubernetes and etcd programs that tests and the
// one-machine stack run. They are built from their Go modules, so that a fresh
// machine needs nothing but Go; see ../testbin.
package kubernetes

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
