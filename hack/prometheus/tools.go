//go:build tools

// Package prometheus pins the Prometheus that the tests of metrics, alerts and
// dashboards run. It is built from its Go module; see ../testbin.
package prometheus

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
