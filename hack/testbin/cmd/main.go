// Command cmd prints where the test programs are, preparing them when needed:
//
//	go run ./hack/testbin/cmd          the next three
//	go run ./hack/testbin/cmd kube     the directory of kube-apiserver, etcd, kubectl, kube-controller-manager
//	go run ./hack/testbin/cmd envoy    the path of envoy
//	go run ./hack/testbin/cmd redis    the path of redis-server
//	go run ./hack/testbin/cmd helm     the path of helm
//	go run ./hack/testbin/cmd kubeconform    that of kubeconform
//	go run ./hack/testbin/cmd kind           that of kind, only if asked for
//	go run ./hack/testbin/cmd prometheus     the directory of prometheus and promtool
//	go run ./hack/testbin/cmd envoy-gateway  the path of envoy-gateway, only if asked for
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"keygate.dev/keygate/hack/testbin"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testbin:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, what []string) error {
	if len(what) == 0 {
		what = []string{"kube", "envoy", "redis", "helm", "kubeconform", "prometheus"}
	}
	find := map[string]func(context.Context) (string, error){
		"kube": testbin.KubeAssets, "envoy": testbin.Envoy, "redis": testbin.Redis,
		"helm": testbin.Helm, "kubeconform": testbin.Kubeconform,
		"prometheus": testbin.Prometheus, "envoy-gateway": testbin.EnvoyGateway, "kind": testbin.Kind,
	}
	for _, name := range what {
		if find[name] == nil {
			return fmt.Errorf("unknown %q: want one of %s", name, strings.Join(slices.Sorted(maps.Keys(find)), ", "))
		}
		path, err := find[name](ctx)
		if err != nil {
			return err
		}
		fmt.Println(path)
	}
	return nil
}
