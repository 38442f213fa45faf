package reconcile

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/test/apiserver"
)

// TestLeaderElection: one leads under the shipped rights; when it ends, it gives the
// lease back and the other goes on at once.
func TestLeaderElection(t *testing.T) {
	c := newCluster(t)
	elected := func(o *Options) { o.LeaderElection = true }
	stop := c.start(elected)
	first := c.issued("under-the-first")
	lease := &coordinationv1.Lease{}
	holder := func() string {
		must(t, c.admin.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: name}, lease))
		if lease.Spec.HolderIdentity == nil {
			return ""
		}
		return *lease.Spec.HolderIdentity
	}
	leader := holder()
	c.start(elected)
	c.issued("still-under-the-first")
	if got := holder(); got != leader {
		t.Errorf("%s leads, want %s", got, leader)
	}
	stop()
	second := c.issued("under-the-second")
	if got := holder(); got == leader || got == "" {
		t.Errorf("%q leads", got)
	}
	for _, key := range []*v1alpha1.APIKey{first, second} {
		must(t, c.oneLiveToken(key))
	}
}

// A new controller has nothing to write where all is as it ought to be.
func TestRestartWritesNothing(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	key := c.issued("steady")
	c.hasEvents(key, eventDelivered)
	c.eventually(func() error {
		must(t, c.get(c.policy))
		if c.policy.Status.Keys != 1 {
			return fmt.Errorf("%d keys are counted", c.policy.Status.Keys)
		}
		return nil
	})
	stop()
	before := c.versions(key)
	c.start()
	other := c.apply(c.newKey("other", func(s *v1alpha1.APIKeySpec) { s.PolicyRef.Name = "nowhere" })).(*v1alpha1.APIKey)
	c.becomes(other, v1alpha1.ConditionReady, v1alpha1.ReasonPolicyNotFound)
	c.poke(other)
	if after := c.versions(key); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
}

// versions are the resourceVersions of all that there is of an APIKey.
func (c *cluster) versions(key *v1alpha1.APIKey) string {
	c.Helper()
	must(c.TB, c.get(key))
	must(c.TB, c.get(c.policy))
	secret, err := c.delivery(key)
	must(c.TB, err)
	return fmt.Sprint(key.ResourceVersion, c.policy.ResourceVersion, c.recordSecret(key).ResourceVersion, c.ledgerSecret(key).ResourceVersion, c.acceptedSecret(c.policy).ResourceVersion, secret.ResourceVersion)
}

// TestOutage: a leader that cannot reach the API server for longer than its lease
// goes on when it is back.
func TestOutage(t *testing.T) {
	c := newClusterOn(t, apiserver.StartOwn(t))
	log := &lines{}
	stop := c.start(func(o *Options) {
		o.LeaderElection, o.lease = true, 2*time.Second
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	})
	before := c.issued("before")
	c.server.Stop()
	c.eventually(func() error {
		if !strings.Contains(log.String(), "cannot start over yet") {
			return errors.New("it does not notice")
		}
		return nil
	})
	c.server.Restart()
	after := c.issued("after")
	for _, key := range []*v1alpha1.APIKey{before, after} {
		must(t, c.oneLiveToken(key))
	}
	stop()
}
