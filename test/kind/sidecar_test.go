//go:build kind

package kind

import (
	"testing"

	"keygate.dev/keygate/test/conformance"
)

// edge is the namespace of config/gateways/sidecar.yaml.
const edge = "edge"

// TestSidecarPod is docs/sidecar.md in pods: Envoy starts behind extauthz, and asks it
// over the socket that they share.
func TestSidecarPod(t *testing.T) {
	w := open(t)
	w.upstream(t, false)
	w.run(t, "", "rollout", "status", "-n", edge, "deploy/envoy", "--timeout=120s")
	conformance.Run(t, w.way(t, edge, "app=envoy", w.authority(t, edge, "stepsies-tls")), conformance.Stepsies, w.tokens)
}
