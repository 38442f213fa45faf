package reconcile

import (
	"testing"

	"keygate.dev/keygate/api/v1alpha1"
)

func TestIssueAndDeliver(t *testing.T) {
	c := newCluster(t)
	c.start()
	key := c.apply(c.newKey("pipeline")).(*v1alpha1.APIKey)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	must(t, c.oneLiveToken(key))
}
