package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// write leaves the images in a directory and says what they are.
func write(out string, images map[string]*platformImage, source source) error {
	tag, err := name.NewTag(repository + ":" + source.version)
	if err != nil {
		return fmt.Errorf("name the image: %w", err)
	}
	digest, err := writeLayout(filepath.Join(out, "oci"), images, source)
	if err != nil {
		return fmt.Errorf("write the image layout: %w", err)
	}
	for _, architecture := range architectures {
		archive := filepath.Join(out, "keygate-"+architecture+".tar")
		if err := tarball.WriteToFile(archive, tag, images[architecture]); err != nil {
			return fmt.Errorf("write %s: %w", archive, err)
		}
	}
	for file, text := range map[string]string{"version": source.version, "digest": digest.String()} {
		if err := os.WriteFile(filepath.Join(out, file), []byte(text+"\n"), 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("%s\n%s\n", tag, digest)
	return nil
}

// writeLayout writes the image of all platforms as an OCI image layout, in the place
// of what was there, and returns its digest.
func writeLayout(dir string, images map[string]*platformImage, source source) (v1.Hash, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range architectures {
		image := images[architecture]
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &image.platform}})
	}
	annotated, ok := mutate.Annotations(index, labels(source)).(v1.ImageIndex)
	if !ok {
		return v1.Hash{}, fmt.Errorf("an annotated index is none")
	}
	if err := os.RemoveAll(dir); err != nil {
		return v1.Hash{}, err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return v1.Hash{}, err
	}
	reference := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": source.version})
	if err := path.AppendIndex(annotated, reference); err != nil {
		return v1.Hash{}, err
	}
	return annotated.Digest()
}
