package main

import (
	"fmt"
	"net"
)

// freePorts returns a free loopback port per name. All are held while they are
// chosen, so that no two are the same.
func freePorts(names []string) (map[string]int, error) {
	ports := make(map[string]int, len(names))
	for _, name := range names {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port for %s: %w", name, err)
		}
		defer listener.Close()
		ports[name] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// portNames names every port of a stack with n replicas of extauthz.
func portNames(n int) []string {
	names := []string{"etcd", "etcd-peer", "apiserver", "controller-manager", "controller-admin", "upstream", "gateway", "gateway-tls", "envoy-admin"}
	for i := range n {
		names = append(names, replicaName(i), replicaName(i)+"-admin")
	}
	return names
}
