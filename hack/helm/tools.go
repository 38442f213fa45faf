//go:build tools

// Package helm pins the Helm that tests and the installation page use. It is built
// from its Go module, so that a fresh machine needs nothing but Go; see ../testbin.
package helm

import _ "helm.sh/helm/v4/cmd/helm"
