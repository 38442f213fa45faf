package testbin

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// foreignCRDs pins the Go modules whose CRDs the chart has objects of: module,
// version, checksum as in go.sum, and where the manifests are.
//
//go:embed crds.txt
var foreignCRDs string

// ForeignCRDs returns the manifests of the CRDs that the chart has objects of: those
// of the Prometheus operator and of cert-manager, from their Go modules.
func ForeignCRDs(ctx context.Context) ([]string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return nil, err
	}
	var files []string
	for line := range strings.Lines(foreignCRDs) {
		var module, sum, pattern string
		if _, err := fmt.Sscan(line, &module, &sum, &pattern); err != nil {
			return nil, fmt.Errorf("read crds.txt: %w", err)
		}
		dir, err := downloadModule(ctx, root, module, sum)
		if err != nil {
			return nil, err
		}
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("%s has no files %s", module, pattern)
		}
		files = append(files, found...)
	}
	return files, nil
}

// downloadModule returns the directory of a module, as "path@version", in Go's cache.
func downloadModule(ctx context.Context, root, module, sum string) (string, error) {
	out, err := runGo(ctx, root, "mod", "download", "-json", module)
	if err != nil {
		return "", fmt.Errorf("get %s: %w", module, err)
	}
	var got struct{ Dir, Sum string }
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		return "", fmt.Errorf("get %s: %w", module, err)
	}
	if got.Sum != sum {
		return "", fmt.Errorf("%s has the checksum %s, want the pinned %s", module, got.Sum, sum)
	}
	return got.Dir, nil
}
