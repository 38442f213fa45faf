package e2e

import (
	"maps"
	"slices"
	"testing"

	"keygate.dev/keygate/test/conformance"
)

// products are the tables by name.
var products = map[string]conformance.Product{
	"Stairoids":        conformance.Stairoids,
	"Stairoids simple": conformance.StairoidsSimple,
	"Stepsies":         conformance.Stepsies,
	"SignalStack":      conformance.SignalStack,
	"Workspace":        conformance.Workspace,
}

// TestConformance does what the products' pages say, and gets what they promise.
func TestConformance(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(products)) {
		t.Run(name, func(t *testing.T) {
			product := products[name]
			conformance.Run(t, shared.gateway.Load(), product, conformance.Issue(t, shared.running.Cluster, product))
		})
	}
}
