// Command chart derives from the tree what the Helm chart must agree with it on: the
// templates of the CRDs, roles and admission policies, and the reference of values.
//
//	chart CRD-DIRECTORY RBAC-DIRECTORY VALUES-FILE CHART-DIRECTORY
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// derived is where the derived templates are, below the chart. Nothing else is there.
const derived = "templates/derived"

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: chart CRD-DIRECTORY RBAC-DIRECTORY VALUES-FILE CHART-DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run(crds, rbac, values, chart string) error {
	dir := filepath.Join(chart, derived)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	err := errors.Join(each(crds, dir, "crd-", fromCRD), each(rbac, dir, "rbac-", fromRBAC))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(values)
	if err != nil {
		return err
	}
	page, err := reference(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", values, err)
	}
	return os.WriteFile(filepath.Join(chart, "README.md"), []byte(page), 0o644)
}

// each turns every manifest of a directory into a template.
func each(from, to, prefix string, turn func(name, text string) (string, error)) error {
	files, err := filepath.Glob(filepath.Join(from, "*.yaml"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s holds no manifests", from)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if name == namespaces {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		template, err := turn(name, string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(to, prefix+name), []byte(template), 0o644); err != nil {
			return err
		}
	}
	return nil
}
