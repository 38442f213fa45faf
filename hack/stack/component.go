package main

import (
	"fmt"
	"slices"
	"strings"
)

// componentNames are the names that `restart` takes.
const componentNames = "etcd, apiserver, controller-manager, controller, extauthz, upstream, envoy, redis"

// component is one process of the stack.
type component struct {
	name    string
	program string // path
	args    []string
	alive   probe // it serves
	ready   probe // it does its work; needs the API server for Keygate's own
}

// tiers lists the components in the order in which they start, those of one tier
// together. They stop in the opposite order.
func (s *stack) tiers() [][]component {
	return [][]component{
		append([]component{s.etcd()}, s.redis()...),
		{s.apiserver()},
		{s.controllerManager()},
		append([]component{s.controller(), s.upstream()}, s.extauthz()...),
		{s.envoy()},
	}
}

// find returns the components that name means: one, or every replica of extauthz.
func (s *stack) find(name string) ([]component, error) {
	name = strings.TrimPrefix(name, "kube-")
	var found []component
	for _, c := range slices.Concat(s.tiers()...) {
		if c.name == name || name == "extauthz" && isReplica(c.name) {
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no component %q: want one of %s", name, componentNames)
	}
	return found, nil
}

// replicaName is extauthz, extauthz-2, extauthz-3, …
func replicaName(i int) string {
	if i == 0 {
		return "extauthz"
	}
	return fmt.Sprintf("extauthz-%d", i+1)
}

func isReplica(name string) bool {
	return name == "extauthz" || strings.HasPrefix(name, "extauthz-")
}

// flagValue returns the value that a flag ends up with: the last one given, as
// package flag has it ("-name v", "--name v", "-name=v", "--name=v").
func flagValue(args []string, name string) string {
	value := ""
	for i, arg := range args {
		flag, inline, hasInline := strings.Cut(arg, "=")
		if flag != "-"+name && flag != "--"+name {
			continue
		}
		if hasInline {
			value = inline
		} else if i+1 < len(args) {
			value = args[i+1]
		}
	}
	return value
}
