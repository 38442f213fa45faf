package keystore

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/test/apiserver"
)

// TestOutage stops the API server under a store, and starts another store
// meanwhile.
func TestOutage(t *testing.T) {
	server := apiserver.StartOwn(t)
	c := newClusterOn(t, server)
	c.issue(0, 20)
	r := c.runSynced(Options{CacheSize: 10})
	gone, revoked := digest(20), digest(21)
	c.create(c.secret(gone, apikey.Active))
	c.create(c.secret(revoked, apikey.Active))
	r.becomes(t, gone, "Active")
	r.becomes(t, revoked, "Active")
	c.update(c.secret(revoked, apikey.Revoked))
	c.delete(keysecret.RecordName(gone))
	r.becomes(t, gone, "absent")
	r.becomes(t, revoked, "Revoked")

	r.line.cut() // a watch would hold up the API server's end
	server.Stop()
	r.line.mend()
	cached := 0
	for n := range 20 {
		d, want := digest(n), "error"
		if r.feed.cache.contains(d) {
			want = "Active"
			cached++
		}
		if got := lookup(t, r.Store, d); got != want {
			t.Errorf("key %d during the outage: got %s, want %s", n, got, want)
		}
	}
	if cached < 8 {
		t.Errorf("%d of the other keys are in memory, want at least 8", cached)
	}
	for d, want := range map[apikey.Digest]string{gone: "absent", revoked: "Revoked", digest(99): "absent"} {
		if got := lookup(t, r.Store, d); got != want {
			t.Errorf("key %s during the outage: got %s, want %s", d.ID(), got, want)
		}
	}
	late := c.run(Options{})
	eventually(t, "the other store has tried", func() bool { return len(late.line.seen("GET")) > 1 })
	if late.Synced() || lookup(t, late.Store, digest(0)) != "error" {
		t.Error("a store that was started during the outage answers")
	}

	server.Restart()
	for n := range 20 {
		r.becomes(t, digest(n), "Active")
	}
	c.update(c.secret(digest(0), apikey.Revoked))
	for _, store := range []*running{r, late} {
		store.becomes(t, digest(0), "Revoked")
		for d, want := range map[apikey.Digest]string{gone: "absent", revoked: "Revoked", digest(1): "Active"} {
			if got := lookup(t, store.Store, d); got != want {
				t.Errorf("key %s after the outage: got %s, want %s", d.ID(), got, want)
			}
		}
	}
}

// TestCutLine cuts a store off while keys change, with the place where its watch
// was still there and not.
func TestCutLine(t *testing.T) {
	for name, expired := range map[string]bool{"the watch resumes": false, "the watch must begin anew": true} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.issue(0, 3)
			r := c.runSynced(Options{})
			r.barrier(c, digest(9)) // a watch that never brought anything is not resumed
			r.line.cut()
			failures := r.metrics.watches.WithLabelValues(kindKeys)
			eventually(t, "the failure of the watch is counted", func() bool { return testutil.ToFloat64(failures) > 0 })
			c.update(c.secret(digest(0), apikey.Revoked))
			c.delete(keysecret.RecordName(digest(1)))
			c.create(c.secret(digest(3), apikey.Active))
			for n, want := range []string{"Active", "Active", "Active", "absent"} {
				if got := lookup(t, r.Store, digest(n)); got != want {
					t.Errorf("key %d, cut off: got %s, want %s", n, got, want)
				}
			}
			lists := len(r.line.seen(c.keys, "limit="))
			if expired {
				var done atomic.Bool
				r.line.intercept(func(request *http.Request) *http.Response {
					if !strings.Contains(request.URL.RawQuery, "watch=true") || !strings.Contains(request.URL.Path, c.keys) || done.Swap(true) {
						return nil
					}
					return status(apierrors.NewResourceExpired("too old resource version"))
				})
			}
			r.line.mu.Lock()
			r.line.down = false
			r.line.mu.Unlock()
			for n, want := range []string{"Revoked", "absent", "Active", "Active"} {
				r.becomes(t, digest(n), want)
			}
			if relisted := len(r.line.seen(c.keys, "limit=")) > lists; relisted != expired {
				t.Errorf("the keys namespace was listed anew: %v, want %v", relisted, expired)
			}
		})
	}
}

// TestUndecryptableList has every list fail as it does when one Secret in etcd
// can't be decrypted.
func TestUndecryptableList(t *testing.T) {
	c := newCluster(t)
	d := digest(1)
	c.create(c.secret(d, apikey.Active))
	r := c.runSynced(Options{})
	r.line.intercept(func(request *http.Request) *http.Response {
		if !strings.Contains(request.URL.Path, c.keys) {
			return nil
		}
		return status(apierrors.NewInternalError(errors.New(`unable to transform key "/registry/secrets/x/key-` + d.String() + `": no matching key`)))
	})
	r.feed.relistAll()
	failures := r.metrics.lists.WithLabelValues(kindKeys)
	eventually(t, "the failing lists are counted", func() bool { return testutil.ToFloat64(failures) >= 2 })
	if got := lookup(t, r.Store, d); got != "Active" {
		t.Errorf("meanwhile: got %s, want Active", got)
	}
	if !strings.Contains(r.log.String(), "no matching key") {
		t.Error("the log does not tell why")
	}
	if strings.Contains(r.log.String(), d.String()) {
		t.Error("the log tells a digest")
	}
	r.line.mend()
	c.update(c.secret(d, apikey.Revoked))
	r.becomes(t, d, "Revoked")
}

// TestListsAreConsistentReads looks at what is asked of the API server: a list with
// a resourceVersion, or a match, may come from a cache that lags.
func TestListsAreConsistentReads(t *testing.T) {
	c := newCluster(t)
	c.issue(0, 600)
	r := c.runSynced(Options{CacheSize: 10})
	if err := r.relister.relist(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.feed.relistAll()
	eventually(t, "everything was listed anew", func() bool { return len(r.line.seen("/namespaces/"+c.keys+"/secrets?", "limit=")) >= 5 })
	lists := r.line.seen("/secrets?", "limit=")
	for _, list := range lists {
		if strings.Contains(list, "resourceVersion") || strings.Contains(list, "sendInitialEvents") {
			t.Errorf("not a consistent read: %s", list)
		}
	}
	for _, kind := range []string{"fieldSelector=metadata.name%3Dkeygate-root", "fieldSelector=type%21%3Dkeygate.dev%2Fledger"} {
		if len(r.line.seen(kind, "limit=")) == 0 || len(r.line.seen(kind, "watch=true", "allowWatchBookmarks=true")) == 0 {
			t.Errorf("no list and watch with %s among %q", kind, r.line.seen(""))
		}
	}
	for n := range 600 { // live reads too
		lookup(t, r.Store, digest(n))
	}
	if reads := r.line.seen("/secrets/key-"); len(reads) < 590 {
		t.Errorf("%d live reads, want some 590", len(reads))
	}
	if reads := r.line.seen("/secrets/key-", "resourceVersion"); len(reads) > 0 {
		t.Errorf("not a consistent read: %s", reads[0])
	}
}

// TestLaggingList has the API server answer lists with what was long ago, which a
// consistent read can't be: nothing comes back to life, and the alarm is raised.
func TestLaggingList(t *testing.T) {
	c := newCluster(t)
	gone, revoked := digest(1), digest(2)
	c.create(c.secret(gone, apikey.Active))
	c.create(c.secret(revoked, apikey.Active))
	old, err := c.admin.CoreV1().Secrets(c.keys).List(t.Context(), metav1.ListOptions{FieldSelector: keysSelector})
	if err != nil {
		t.Fatal(err)
	}
	lagging := &laggingSecrets{}
	r := c.runSynced(Options{}, func(s *Store) {
		lagging.SecretInterface = s.feed.secrets
		s.feed.secrets = lagging
	})
	c.delete(keysecret.RecordName(gone))
	c.update(c.secret(revoked, apikey.Revoked))
	r.becomes(t, gone, "absent")
	r.becomes(t, revoked, "Revoked")
	eventually(t, "the position is past the old list", func() bool { return r.feed.position.Load() > mustParse(t, old.ResourceVersion) })

	lagging.lag(old)
	r.feed.relistAll()
	failures := r.metrics.lists.WithLabelValues(kindKeys)
	eventually(t, "the lagging lists are refused", func() bool { return testutil.ToFloat64(failures) >= 2 })
	for d, want := range map[apikey.Digest]string{gone: "absent", revoked: "Revoked"} {
		if got := lookup(t, r.Store, d); got != want {
			t.Errorf("key %s: got %s, want %s", d.ID(), got, want)
		}
	}
	if !strings.Contains(r.log.String(), errLagging.Error()) {
		t.Error("the log does not tell why")
	}
	lagging.lag(nil)
	c.create(c.secret(digest(3), apikey.Active))
	r.becomes(t, digest(3), "Active")
}
