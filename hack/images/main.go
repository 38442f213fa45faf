// Command images builds Keygate's container image for every platform, from nothing
// but the tree and Go: no Docker, no base image, no network once the modules are
// there. The same tree gives the same bytes.
//
//	go -C hack/images run . [--out DIRECTORY] [--tree DIRECTORY]
//
// It leaves in the directory:
//
//	oci/                     the image of all platforms, an OCI image layout
//	keygate-amd64.tar, …     that of one platform, for docker load and kind load image-archive
//	version                  what --version says, and the image's tag
//	digest                   of the image of all platforms
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// architectures of the image, all on Linux.
var architectures = []string{"amd64", "arm64"}

func main() {
	out := flag.String("out", "../../dist", "directory for the image")
	tree := flag.String("tree", "../..", "root of the tree that is built")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *tree, *out); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, tree, out string) error {
	tree, err := filepath.Abs(tree)
	if err != nil {
		return err
	}
	source, err := describe(ctx, tree)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	images := map[string]*platformImage{}
	for _, architecture := range architectures {
		fmt.Fprintf(os.Stderr, "images: building %s for %s (minutes the first time, then seconds)\n", source.version, architecture)
		programs, err := build(ctx, tree, architecture, source.version)
		if err != nil {
			return err
		}
		if images[architecture], err = newImage(programs, architecture, source); err != nil {
			return err
		}
	}
	return write(out, images, source)
}
