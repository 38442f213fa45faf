package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
)

// Ports come from below the range that the kernel gives to outgoing connections,
// where one could take a component's port between its choice and its use, or while
// the component restarts.
const (
	lowestPort       = 15000
	ephemeralDefault = 32768 // where Linux's range begins unless it is told otherwise
	portAttempts     = 200
)

// freePorts returns a free loopback port per name. All are held while they are
// chosen, so that no two are the same.
func freePorts(names []string) (map[string]int, error) {
	below := ephemeralStart()
	ports := make(map[string]int, len(names))
	for _, name := range names {
		listener, err := listenBelow(below)
		if err != nil {
			return nil, fmt.Errorf("find a free port for %s: %w", name, err)
		}
		defer listener.Close()
		ports[name] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// listenBelow listens on a random free port of loopback under a bound.
func listenBelow(bound int) (net.Listener, error) {
	if bound <= lowestPort {
		return net.Listen("tcp4", "127.0.0.1:0")
	}
	var failure error
	for range portAttempts {
		listener, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(lowestPort+rand.IntN(bound-lowestPort)))
		if err == nil {
			return listener, nil
		}
		failure = err
	}
	return nil, failure
}

// ephemeralStart is the first port that outgoing connections may have.
func ephemeralStart() int {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return ephemeralDefault
	}
	var first, last int
	if _, err := fmt.Sscan(string(data), &first, &last); err != nil {
		return ephemeralDefault
	}
	return first
}

// portNames names every port of a stack with n replicas of extauthz.
func portNames(n int) []string {
	names := []string{"etcd", "etcd-peer", "apiserver", "controller-manager", "controller-admin", "upstream", "gateway", "gateway-tls", "envoy-admin", "redis"}
	for i := range n {
		names = append(names, replicaName(i), replicaName(i)+"-admin")
	}
	return names
}
