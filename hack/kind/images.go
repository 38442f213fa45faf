package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"keygate.dev/keygate/hack/testbin"
)

// makeImages makes the images that nobody names, and loads them into the node.
func (p *place) makeImages(ctx context.Context) error {
	for _, image := range []struct {
		name string
		// make returns the image's name and the archive that it is in.
		make func(context.Context) (name, archive string, err error)
	}{{"keygate", p.keygateImage}, {"upstream", p.upstreamImage}, {"envoy", p.envoyImage}} {
		variable := strings.ToUpper(image.name) + "_IMAGE"
		if p.images[image.name] = os.Getenv(variable); p.images[image.name] != "" {
			continue
		}
		if p.name == "" {
			return fmt.Errorf("%s is not set, and the cluster is none of kind's, into which an image could be loaded", variable)
		}
		say("making the image %s", image.name)
		name, archive, err := image.make(ctx)
		if err != nil {
			return fmt.Errorf("make the image %s (or set %s): %w", image.name, variable, err)
		}
		if err := p.run(ctx, "", p.kind, "load", "image-archive", archive, "--name", p.name); err != nil {
			return err
		}
		p.images[image.name] = name
	}
	return nil
}

// keygateImage makes Keygate's own image, as for a release.
func (p *place) keygateImage(ctx context.Context) (name, archive string, err error) {
	if err := p.run(ctx, "", "make", "--no-print-directory", "images"); err != nil {
		return "", "", err
	}
	version, err := os.ReadFile(filepath.Join(p.root, "dist", "version"))
	return "keygate.dev/keygate:" + strings.TrimSpace(string(version)), filepath.Join(p.root, "dist", "keygate-"+runtime.GOARCH+".tar"), err
}

// upstreamImage makes that of the sample upstream: one static program.
func (p *place) upstreamImage(ctx context.Context) (name, archive string, err error) {
	program := filepath.Join(p.dir, "upstream")
	if err := p.run(ctx, "", "env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "./hack/stack/upstream"); err != nil {
		return "", "", err
	}
	name, archive = "keygate.dev/test/upstream:kind", filepath.Join(p.dir, "upstream.tar")
	return name, archive, writeImage(archive, name, "/upstream", map[string]string{"/upstream": program})
}

// library finds the files in what ldd prints.
var library = regexp.MustCompile(`(?m)(/\S+) \(0x`)

// envoyImage makes an Envoy's of the program that the tests use and the libraries of
// this machine that it is linked to.
func (p *place) envoyImage(ctx context.Context) (name, archive string, err error) {
	program, err := testbin.Envoy(ctx)
	if err != nil {
		return "", "", err
	}
	linked, err := p.output(ctx, "ldd", program)
	if err != nil {
		return "", "", err
	}
	files := map[string]string{"/usr/local/bin/envoy": program}
	for _, match := range library.FindAllStringSubmatch(linked, -1) {
		files[match[1]] = match[1]
	}
	name, archive = "keygate.dev/test/envoy:kind", filepath.Join(p.dir, "envoy.tar")
	return name, archive, writeImage(archive, name, "/usr/local/bin/envoy", files)
}
