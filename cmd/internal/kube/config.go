// Package kube finds the API server.
package kube

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Config reads a kubeconfig file, or the pod's service account where path is empty.
// The user agent tells the API server's audit log who asks.
func Config(path, userAgent string) (*rest.Config, error) {
	config, err := load(path)
	if err != nil {
		return nil, fmt.Errorf("read the Kubernetes configuration: %w", err)
	}
	config.UserAgent = userAgent
	return config, nil
}

func load(path string) (*rest.Config, error) {
	if path == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", path)
}
