//go:build tools

// Package envoygateway pins the Envoy Gateway that tests run. It is built from its Go
// module, so that a fresh machine needs nothing but Go; see ../testbin.
package envoygateway

import (
	_ "github.com/envoyproxy/gateway/cmd/envoy-gateway"
)
