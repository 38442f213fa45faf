// Command kind runs Keygate in a Kubernetes cluster on this machine, for test/kind:
//
//	kind up      make a cluster from kind-config.yaml, install the chart, an Envoy
//	             with an upstream, and a pod with the sidecar; write .kind/env
//	kind down    delete the cluster, and .kind
//
// Flag --kubeconfig, before the word, names another cluster, which is used as it is:
// `down` then takes away only what `up` has put there. From the environment: KIND_IMAGE
// is the node's image (default: kind's own), KIND_CLUSTER the cluster's name (keygate).
// KEYGATE_IMAGE, ENVOY_IMAGE and UPSTREAM_IMAGE name images that the nodes can get; each
// one that is not set is made here and loaded, which takes a cluster that kind has made.
// Nothing is pulled but the node's image.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"keygate.dev/keygate/hack/testbin"
)

// place is where Keygate runs, and what it is put there with.
type place struct {
	// root of the tree, dir of what is written.
	root, dir string
	// kubeconfig of the cluster.
	kubeconfig string
	// given: the cluster is somebody else's.
	given bool
	// name of the cluster in kind; "": it is none of kind's.
	name string
	// images maps the names of images in here to those in the cluster.
	images map[string]string

	kubectl, helm, kind string
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "use the cluster of this file, as it is, instead of making one")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "kind:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, what string) error {
	if what != "up" && what != "down" {
		return fmt.Errorf("usage: kind [--kubeconfig FILE] up | down")
	}
	p, err := newPlace(ctx, kubeconfig)
	if err != nil {
		return err
	}
	if what == "up" {
		return p.up(ctx)
	}
	return p.down(ctx)
}

// newPlace finds the programs.
func newPlace(ctx context.Context, kubeconfig string) (*place, error) {
	root, err := testbin.ModuleRoot()
	if err != nil {
		return nil, err
	}
	p := &place{root: root, dir: filepath.Join(root, ".kind"), name: cmp.Or(os.Getenv("KIND_CLUSTER"), "keygate"), images: map[string]string{}}
	p.kubeconfig = filepath.Join(p.dir, "kubeconfig")
	if kubeconfig != "" {
		if p.kubeconfig, err = filepath.Abs(kubeconfig); err != nil {
			return nil, err
		}
		p.given = true
	}
	assets, err := testbin.KubeAssets(ctx)
	if err != nil {
		return nil, err
	}
	p.kubectl = filepath.Join(assets, "kubectl")
	if p.helm, err = testbin.Helm(ctx); err != nil {
		return nil, err
	}
	p.kind, err = testbin.Kind(ctx)
	return p, err
}
