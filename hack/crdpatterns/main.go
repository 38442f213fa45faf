// Command crdpatterns bounds what generated CRDs let through: each time gets a
// pattern and each 32-bit integer a range, where they have none. The API server
// takes "2027-01-01t00:00:00z" for a date-time and 2^40 for an int32; the typed
// informers take neither, and would stop at the first object that holds one.
//
// Usage: crdpatterns FILE...
package main

import (
	"fmt"
	"math"
	"os"

	"sigs.k8s.io/yaml"
)

// timePattern is the RFC 3339 times of the years 1970 to 2999 that Go reads.
const timePattern = `^(19[7-9]\d|2\d{3})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`

func main() {
	for _, file := range os.Args[1:] {
		if err := bound(file); err != nil {
			fmt.Fprintf(os.Stderr, "crdpatterns: %s: %v\n", file, err)
			os.Exit(1)
		}
	}
}

// bound rewrites one file.
func bound(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var crd map[string]any
	if err := yaml.Unmarshal(data, &crd); err != nil {
		return err
	}
	boundNode(crd)
	out, err := yaml.Marshal(crd)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append([]byte("---\n"), out...), 0o644)
}

// boundNode bounds every schema below node.
func boundNode(node any) {
	switch node := node.(type) {
	case map[string]any:
		boundSchema(node)
		for _, child := range node {
			boundNode(child)
		}
	case []any:
		for _, child := range node {
			boundNode(child)
		}
	}
}

// boundSchema bounds one schema, if it is one that needs it.
func boundSchema(schema map[string]any) {
	if schema["type"] == "string" && schema["format"] == "date-time" && schema["pattern"] == nil {
		schema["pattern"] = timePattern
	}
	if schema["type"] == "integer" && schema["format"] == "int32" {
		if schema["maximum"] == nil {
			schema["maximum"] = math.MaxInt32
		}
		if schema["minimum"] == nil {
			schema["minimum"] = math.MinInt32
		}
	}
}
