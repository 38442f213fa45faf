package keystore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// TestLostEvents has the watch lose every event of some keys and a policy: nothing
// tells, until the names are listed.
func TestLostEvents(t *testing.T) {
	c := newCluster(t)
	deleted, revoked, added, untouched, forged := digest(1), digest(2), digest(3), digest(4), digest(5)
	for _, d := range []apikey.Digest{deleted, revoked, untouched, forged} {
		c.create(c.secret(d, apikey.Active))
	}
	c.create(c.policySecret("gone", "a", "gone.example.com"))
	c.create(c.policySecret("edited", "b", "edited.example.com"))
	lossy := &lossySecrets{}
	r := c.runSynced(Options{}, func(s *Store) {
		lossy.SecretInterface = s.feed.secrets
		s.feed.secrets = lossy
	})
	if err := r.relister.relist(t.Context()); err != nil {
		t.Fatal(err)
	}
	if reads := r.line.seen("/secrets/"); len(reads) > 0 {
		t.Errorf("nothing was lost, but it was read: %q", reads)
	}

	lossy.lose(true)
	c.delete(keysecret.RecordName(deleted))
	c.update(c.secret(revoked, apikey.Revoked))
	c.create(c.secret(added, apikey.Active))
	c.update(spoiled(c.secret(forged, apikey.Active)))
	c.delete(keysecret.PolicyName("platform", "gone"))
	c.update(c.policySecret("edited", "b", "moved.example.com"))
	eventually(t, "the events are lost", func() bool { return lossy.count() >= 6 })
	lossy.lose(false)
	r.barrier(c, digest(6))
	expect := func(when string, want map[apikey.Digest]string, hosts map[string]string) {
		t.Helper()
		for d, want := range want {
			if got := lookup(t, r.Store, d); got != want {
				t.Errorf("%s, key %s: got %s, want %s", when, d.ID(), got, want)
			}
		}
		for host, want := range hosts {
			if got := decidedBy(r.Policies(), host); got != want {
				t.Errorf("%s, host %s: got %s, want %s", when, host, got, want)
			}
		}
	}
	expect("before",
		map[apikey.Digest]string{deleted: "Active", revoked: "Active", added: "absent", untouched: "Active", forged: "Active"},
		map[string]string{"gone.example.com": "a", "edited.example.com": "b", "moved.example.com": "unknown"})
	if err := r.relister.relist(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("after",
		map[apikey.Digest]string{deleted: "absent", revoked: "Revoked", added: "Active", untouched: "Active", forged: "Active"},
		map[string]string{"gone.example.com": "unknown", "edited.example.com": "unknown", "moved.example.com": "b"})
	for change, want := range map[string]float64{repairRemoved: 2, repairUpdated: 2, repairAdded: 1} {
		if got := testutil.ToFloat64(r.metrics.repairs.WithLabelValues(change)); got != want {
			t.Errorf("%v repairs of kind %s, want %v", got, change, want)
		}
	}
	reads := len(r.line.seen("/secrets/"))
	if err := r.relister.relist(t.Context()); err != nil {
		t.Fatal(err)
	}
	if more := r.line.seen("/secrets/")[reads:]; len(more) > 0 {
		t.Errorf("all is known, the forged one too, but it was read again: %q", more)
	}
}

// TestManyLostEvents has more differences than are settled one by one.
func TestManyLostEvents(t *testing.T) {
	c := newCluster(t)
	c.issue(0, 20)
	lossy := &lossySecrets{}
	r := c.runSynced(Options{RelistInterval: time.Hour}, func(s *Store) {
		lossy.SecretInterface = s.feed.secrets
		s.feed.secrets = lossy
		s.relister.limit = 5
		lossy.lose(true)
	})
	for n := range 20 {
		c.delete(keysecret.RecordName(digest(n)))
	}
	if err := r.relister.relist(t.Context()); err != nil { // not one by one, as they go
		t.Fatal(err)
	}
	for n := range 20 {
		r.becomes(t, digest(n), "absent")
	}
	if got := testutil.ToFloat64(r.metrics.relists.WithLabelValues(relistFull)); got == 0 {
		t.Error("everything was not listed anew")
	}
}

// TestRelistFails checks that a failing list changes nothing and is counted.
func TestRelistFails(t *testing.T) {
	c := newCluster(t)
	d := digest(1)
	c.create(c.secret(d, apikey.Active))
	r := c.runSynced(Options{RelistInterval: 20 * time.Millisecond})
	r.line.cut()
	failed := r.metrics.relists.WithLabelValues(relistFailed)
	eventually(t, "the failure is counted", func() bool { return testutil.ToFloat64(failed) >= 2 })
	if got := lookup(t, r.Store, d); got != "Active" {
		t.Errorf("got %s, want Active", got)
	}
}

// TestRelistIsNotMisled has names listed as they were long ago.
func TestRelistIsNotMisled(t *testing.T) {
	c := newCluster(t)
	r := c.runSynced(Options{})
	names := r.relister.names
	old, err := names.List(t.Context(), metav1.ListOptions{FieldSelector: keysSelector})
	if err != nil {
		t.Fatal(err)
	}
	d := digest(1)
	c.create(c.secret(d, apikey.Active))
	r.becomes(t, d, "Active")
	version := r.feed.index.version(d)
	eventually(t, "the position is past the old list", func() bool { return r.feed.position.Load() >= version })
	r.relister.names = laggingNames{names, old}
	if err := r.relister.relist(t.Context()); !errors.Is(err, errLagging) {
		t.Errorf("got %v, want errLagging", err)
	}
	if got := lookup(t, r.Store, d); got != "Active" {
		t.Errorf("got %s, want Active", got)
	}
}

// laggingNames are the names in the keys namespace as they were once.
type laggingNames struct {
	metadata.ResourceInterface
	old *metav1.PartialObjectMetadataList
}

func (l laggingNames) List(context.Context, metav1.ListOptions) (*metav1.PartialObjectMetadataList, error) {
	return l.old.DeepCopy(), nil
}

// lossySecrets is the keys namespace behind a watch that can lose events.
type lossySecrets struct {
	typedcorev1.SecretInterface
	mu     sync.Mutex
	losing bool
	lost   int
}

func (l *lossySecrets) lose(losing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.losing = losing
}

func (l *lossySecrets) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

func (l *lossySecrets) Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	w, err := l.SecretInterface.Watch(ctx, options)
	if err != nil {
		return nil, err
	}
	return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.losing {
			l.lost++
		}
		return e, !l.losing
	}), nil
}

// laggingSecrets is the keys namespace as an API server shows it whose lists can be
// made old.
type laggingSecrets struct {
	typedcorev1.SecretInterface
	mu  sync.Mutex
	old *corev1.SecretList
}

// lag makes every list be old; nil: as it is.
func (l *laggingSecrets) lag(old *corev1.SecretList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.old = old
}

func (l *laggingSecrets) List(ctx context.Context, options metav1.ListOptions) (*corev1.SecretList, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.old != nil {
		return l.old.DeepCopy(), nil
	}
	return l.SecretInterface.List(ctx, options)
}

func mustParse(tb testing.TB, resourceVersion string) uint64 {
	tb.Helper()
	version, err := parseVersion(resourceVersion)
	if err != nil {
		tb.Fatal(err)
	}
	return version
}
