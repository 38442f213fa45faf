package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"runtime"
	"slices"
)

// writeImage writes an image of one layer as the archive that docker save makes. The
// layer has files, from where they are here, which everybody may run.
func writeImage(archive, name, entrypoint string, files map[string]string) (err error) {
	layer, err := pack(files)
	if err != nil {
		return err
	}
	diff := sha256.Sum256(layer)
	config, err := json.Marshal(map[string]any{
		"os": "linux", "architecture": runtime.GOARCH,
		"config": map[string]any{"Entrypoint": []string{entrypoint}, "Env": []string{"PATH=/usr/local/bin:/"}, "User": "65532:65532"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(diff[:])}},
	})
	if err != nil {
		return err
	}
	id := sha256.Sum256(config)
	configFile := hex.EncodeToString(id[:]) + ".json"
	manifest, err := json.Marshal([]any{map[string]any{"Config": configFile, "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	out, err := os.Create(archive)
	if err != nil {
		return err
	}
	w := tar.NewWriter(out)
	defer func() { err = errors.Join(err, w.Close(), out.Close()) }()
	return errors.Join(add(w, "layer.tar", layer), add(w, configFile, config), add(w, "manifest.json", manifest))
}

// pack is the tar archive of files.
func pack(files map[string]string) ([]byte, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		content, err := os.ReadFile(files[path])
		if err != nil {
			return nil, err
		}
		if err := add(w, path[1:], content); err != nil {
			return nil, err
		}
	}
	return layer.Bytes(), w.Close()
}

func add(w *tar.Writer, name string, content []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o555, Size: int64(len(content)), Format: tar.FormatUSTAR}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}
