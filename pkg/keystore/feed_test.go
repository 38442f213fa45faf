package keystore

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/test/apiserver"
)

// TestUnderShippedIdentity runs a store with the rights of config/rbac, from before
// there is a root Secret.
func TestUnderShippedIdentity(t *testing.T) {
	server := apiserver.Start(t)
	admin, err := kubernetes.NewForConfig(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{tb: t, admin: admin, config: server.Extauthz(), system: "keygate-system", keys: "keygate-keys"}
	r := c.run(Options{})
	eventually(t, "the store waits for the root Secret", func() bool { return strings.Contains(r.log.String(), "there is no root Secret yet") })
	if r.Synced() || lookup(t, r.Store, digest(1)) != "error" {
		t.Error("the store answers before there is a root Secret")
	}
	if requests := r.line.seen("namespaces/keygate-keys/"); len(requests) > 0 {
		t.Errorf("keys were read before there was a root Secret: %q", requests)
	}

	c.makeRoot()
	eventually(t, "the store is synced", r.Synced)
	d := digest(1)
	if got := lookup(t, r.Store, d); got != "absent" {
		t.Errorf("before it is made: got %s, want absent", got)
	}
	c.create(c.secret(d, apikey.Active))
	r.becomes(t, d, "Active")
	c.create(c.policySecret("stepsies", "a", "api.stepsies.com"))
	eventually(t, "the policy decides its host", func() bool { return decidedBy(r.Policies(), "api.stepsies.com") == "a" })
	if err := r.relister.relist(t.Context()); err != nil {
		t.Errorf("relist: %v", err)
	}
	if refused := strings.Contains(r.log.String(), "forbidden"); refused {
		t.Error("the shipped rights do not suffice")
	}
}

// TestFollowsEdits makes, edits and deletes one key in every way, on a store that
// is watching and on one that is started afterwards.
func TestFollowsEdits(t *testing.T) {
	d, other, mark := digest(1), digest(2), digest(3)
	for name, tc := range map[string]struct {
		act          func(c *cluster)
		want, afresh string
	}{
		"made":    {func(c *cluster) { c.create(c.secret(d, apikey.Active)) }, "Active", "Active"},
		"revoked": {func(c *cluster) { c.create(c.secret(d, apikey.Active)); c.update(c.secret(d, apikey.Revoked)) }, "Revoked", "Revoked"},
		"deleted": {func(c *cluster) { c.create(c.secret(d, apikey.Active)); c.delete(keysecret.RecordName(d)) }, "absent", "absent"},
		"made again": {func(c *cluster) {
			c.create(c.secret(d, apikey.Active))
			c.delete(keysecret.RecordName(d))
			c.create(c.secret(d, apikey.Suspended))
		}, "Suspended", "Suspended"},
		"edited without the seal key": {func(c *cluster) {
			c.create(c.secret(d, apikey.Suspended))
			c.update(spoiled(c.secret(d, apikey.Active)))
		}, "Suspended", "absent"},
		"edited without the seal key and deleted": {func(c *cluster) {
			c.create(c.secret(d, apikey.Active))
			c.update(spoiled(c.secret(d, apikey.Active)))
			c.delete(keysecret.RecordName(d))
		}, "absent", "absent"},
		"copied from another": {func(c *cluster) {
			secret := c.secret(other, apikey.Active)
			secret.Name = keysecret.RecordName(d)
			c.create(secret)
		}, "absent", "absent"},
		"renamed from another": {func(c *cluster) {
			secret := c.secret(other, apikey.Active)
			c.create(secret)
			secret.Name = keysecret.RecordName(d)
			c.create(secret)
			c.delete(keysecret.RecordName(other))
		}, "absent", "absent"},
		"a plain Secret of that name": {func(c *cluster) {
			secret := c.secret(d, apikey.Active)
			secret.Type = corev1.SecretTypeOpaque
			c.create(secret)
		}, "absent", "absent"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			watching := c.runSynced(Options{})
			tc.act(c)
			watching.barrier(c, mark)
			if got := lookup(t, watching.Store, d); got != tc.want {
				t.Errorf("watching: got %s, want %s", got, tc.want)
			}
			if got := lookup(t, c.runSynced(Options{}).Store, d); got != tc.afresh {
				t.Errorf("started afterwards: got %s, want %s", got, tc.afresh)
			}
		})
	}
}

// TestSmallCache has ten times more keys than room: every one works, and tokens
// that are no keys cost no call.
func TestSmallCache(t *testing.T) {
	c := newCluster(t)
	c.issue(0, 700) // more than a page of a list
	r := c.runSynced(Options{CacheSize: 100})
	c.issue(700, 1000)
	eventually(t, "all keys are indexed", func() bool { return r.feed.index.len() == 1000 })
	for round := range 2 {
		for n := range 1000 {
			if got := lookup(t, r.Store, digest(n)); got != "Active" {
				t.Fatalf("round %d, key %d: got %s, want Active", round, n, got)
			}
		}
	}
	if got := r.feed.cache.len(); got != 100 {
		t.Errorf("%d records in memory, want 100", got)
	}
	before := len(r.line.seen(""))
	for n := range 100_000 {
		if got := lookup(t, r.Store, digest(1_000_000+n)); got != "absent" {
			t.Fatalf("a random token: got %s, want absent", got)
		}
	}
	for n := 900; n < 1000; n++ { // those that were asked for last
		if got := lookup(t, r.Store, digest(n)); got != "Active" {
			t.Fatalf("key %d: got %s, want Active", n, got)
		}
	}
	if requests := r.line.seen("")[before:]; len(requests) > 0 {
		t.Errorf("%d requests to the API server, want none: %q…", len(requests), requests[0])
	}
	if got := r.feed.cache.len(); got != 100 {
		t.Errorf("%d records in memory afterwards, want 100", got)
	}
}

// TestSealKeyIsRotatedLive seals a key with a version that the store learns of
// only later.
func TestSealKeyIsRotatedLive(t *testing.T) {
	c := newCluster(t)
	before, after := digest(1), digest(2)
	c.create(c.secret(before, apikey.Active))
	r := c.runSynced(Options{})
	rootSecret, err := c.admin.CoreV1().Secrets(c.system).Get(t.Context(), keysecret.RootName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	rootSecret.Data["seal-2"] = keysecret.NewRootSecret("").Data["seal-1"]
	c.setRoot(rootSecret)
	c.create(c.secret(after, apikey.Active))
	rejected := r.metrics.rejections.WithLabelValues(kindRecord, rejectSealVersion)
	eventually(t, "the unknown version is noticed", func() bool { return testutil.ToFloat64(rejected) > 0 })
	if got := lookup(t, r.Store, after); got != "absent" {
		t.Errorf("before the version is known: got %s, want absent", got)
	}
	c.update(rootSecret)
	r.becomes(t, after, "Active")
	if got := lookup(t, r.Store, before); got != "Active" {
		t.Errorf("sealed with the older version: got %s, want Active", got)
	}

	broken := rootSecret.DeepCopy()
	broken.ResourceVersion = ""
	broken.Data["seal-3"] = []byte("canary")
	c.update(broken)
	if err := c.admin.CoreV1().Secrets(c.system).Delete(t.Context(), keysecret.RootName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	missing := r.metrics.rejections.WithLabelValues(kindRoot, rejectMissing)
	eventually(t, "the loss is noticed", func() bool { return testutil.ToFloat64(missing) > 0 })
	c.create(c.secret(digest(3), apikey.Active))
	r.becomes(t, digest(3), "Active")
	if strings.Contains(r.log.String(), "canary") {
		t.Error("the log tells what the root Secret holds")
	}
}

// TestRunEndsClean checks that nothing is left running.
func TestRunEndsClean(t *testing.T) {
	c := newCluster(t)
	c.issue(0, 10)
	waiting := c.run(Options{}) // stopped whenever it happens to be
	synced := c.runSynced(Options{CacheSize: 1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for n := range 10 { // reads whose callers are gone
		_, _ = synced.Lookup(ctx, digest(n))
	}
	waiting.stop()
	synced.stop()
	eventually(t, "no goroutine of the store is left", func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for _, part := range []string{"keystore.(*feed)", "keystore.(*rootFeed)", "keystore.(*relister)", "keystore.(*fetcher)", "cache.(*Reflector)"} {
			if strings.Contains(string(stacks), part) {
				return false
			}
		}
		return true
	})
}
