package main

import (
	"archive/tar"
	"bytes"
	"io"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// repository is the image's name without a tag.
const repository = "keygate.dev/keygate"

// user is neither root nor anybody else: "nobody" of most systems.
const user = "65532:65532"

// platformImage is the image of one platform.
type platformImage struct {
	v1.Image
	platform v1.Platform
}

// newImage puts programs, and nothing else, into an image: no shell, no libraries,
// no certificate authorities. Every program is a layer of its own.
func newImage(programs map[string][]byte, architecture string, source source) (*platformImage, error) {
	platform := v1.Platform{OS: "linux", Architecture: architecture}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		layer, err := newLayer(name, programs[name], source)
		if err != nil {
			return nil, err
		}
		image, err = mutate.Append(image, mutate.Addendum{
			Layer: layer, MediaType: types.OCILayer,
			History: v1.History{Created: v1.Time{Time: source.made}, CreatedBy: "make images: /" + name},
		})
		if err != nil {
			return nil, err
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = platform.OS, platform.Architecture
	config.Created = v1.Time{Time: source.made}
	config.Config = v1.Config{User: user, WorkingDir: "/", Labels: labels(source)}
	image, err = mutate.ConfigFile(image, config)
	return &platformImage{image, platform}, err
}

// labels are those of the OCI image specification ("Pre-Defined Annotation Keys").
func labels(source source) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":       "keygate",
		"org.opencontainers.image.description": "API keys for Envoy and Kubernetes",
		"org.opencontainers.image.version":     source.version,
		"org.opencontainers.image.revision":    source.revision,
		"org.opencontainers.image.created":     source.made.Format("2006-01-02T15:04:05Z"),
	}
}

// newLayer is a layer with one program, which everybody may run and nobody change.
func newLayer(name string, program []byte, source source) (v1.Layer, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o555, Size: int64(len(program)), ModTime: source.made, Format: tar.FormatUSTAR}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil }
	return tarball.LayerFromOpener(opener, tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
}
