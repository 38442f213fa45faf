// Command cmd prints where the test programs are, preparing them when needed:
//
//	go run ./hack/testbin/cmd          all lines below
//	go run ./hack/testbin/cmd kube     the directory of kube-apiserver, etcd, kubectl, kube-controller-manager
//	go run ./hack/testbin/cmd envoy    the path of envoy
//	go run ./hack/testbin/cmd redis    the path of redis-server
//	go run ./hack/testbin/cmd helm     the path of helm
//	go run ./hack/testbin/cmd kubeconform  that of kubeconform
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
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
		what = []string{"kube", "envoy", "redis", "helm", "kubeconform"}
	}
	find := map[string]func(context.Context) (string, error){
		"kube": testbin.KubeAssets, "envoy": testbin.Envoy, "redis": testbin.Redis, "helm": testbin.Helm, "kubeconform": testbin.Kubeconform,
	}
	for _, name := range what {
		if find[name] == nil {
			return fmt.Errorf("unknown %q: want kube, envoy, redis, helm or kubeconform", name)
		}
		path, err := find[name](ctx)
		if err != nil {
			return err
		}
		fmt.Println(path)
	}
	return nil
}
