package keystore

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"keygate.dev/keygate/pkg/apikey"
)

func TestLookup(t *testing.T) {
	d, other := digest(1), digest(2)
	for name, tc := range map[string]struct {
		// arrange has a store with room for one record, and no events yet.
		arrange func(t *testing.T, s *Store, api *apiServer)
		want    string
		calls   int
	}{
		"not synced": {func(t *testing.T, s *Store, _ *apiServer) {
			event(t, s.feed.Add, at(seal(t, s, d, apikey.Active), 5))
		}, "error", 0},
		"unknown": {func(t *testing.T, s *Store, _ *apiServer) { syncAt(t, s, 9) }, "absent", 0},
		"listed": {func(t *testing.T, s *Store, _ *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, d, apikey.Active), 5))
		}, "Active", 0},
		"added": {func(t *testing.T, s *Store, _ *apiServer) {
			syncAt(t, s, 9)
			event(t, s.feed.Add, at(seal(t, s, d, apikey.Active), 10))
		}, "Active", 0},
		"expired, which is the caller's to judge": {func(t *testing.T, s *Store, _ *apiServer) {
			expired := record(d)
			expired.ExpiresAt = new(time.Unix(5, 0).UTC())
			syncAt(t, s, 9, at(sealRecord(t, s.root.Load().Sealer, expired), 5))
		}, "Active", 0},
		"updated": {func(t *testing.T, s *Store, _ *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, d, apikey.Active), 5))
			event(t, s.feed.Update, at(seal(t, s, d, apikey.Revoked), 10))
		}, "Revoked", 0},
		"in memory, and another is updated": {func(t *testing.T, s *Store, api *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, d, apikey.Active), 5), at(seal(t, s, other, apikey.Active), 6))
			event(t, s.feed.Update, at(seal(t, s, other, apikey.Suspended), 10))
		}, "Active", 0},
		"deleted": {func(t *testing.T, s *Store, _ *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, d, apikey.Active), 5))
			event(t, s.feed.Delete, at(seal(t, s, d, apikey.Active), 10))
		}, "absent", 0},
		"an update out of order": {func(t *testing.T, s *Store, _ *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, d, apikey.Revoked), 8))
			event(t, s.feed.Update, at(seal(t, s, d, apikey.Active), 7))
		}, "Revoked", 0},
		"an edit without the seal key": {func(t *testing.T, s *Store, _ *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, d, apikey.Active), 5))
			event(t, s.feed.Update, at(spoiled(seal(t, s, d, apikey.Active)), 10))
		}, "Active", 0},
		"an edit without the seal key, then a list": {func(t *testing.T, s *Store, _ *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, d, apikey.Active), 5))
			syncAt(t, s, 11, at(spoiled(seal(t, s, d, apikey.Active)), 10))
		}, "Active", 0},
		"a deletion after an edit without the seal key": {func(t *testing.T, s *Store, _ *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, d, apikey.Active), 5))
			event(t, s.feed.Delete, at(spoiled(seal(t, s, d, apikey.Active)), 10))
		}, "absent", 0},
		"a copy under another name": {func(t *testing.T, s *Store, _ *apiServer) {
			syncAt(t, s, 9)
			secret := at(seal(t, s, other, apikey.Active), 10)
			secret.Name = seal(t, s, d, apikey.Active).Name
			event(t, s.feed.Add, secret)
		}, "absent", 0},
		"another type under a record's name": {func(t *testing.T, s *Store, _ *apiServer) {
			syncAt(t, s, 9)
			secret := at(seal(t, s, d, apikey.Active), 10)
			secret.Type = corev1.SecretTypeOpaque
			event(t, s.feed.Add, secret)
		}, "absent", 0},
		"evicted": {func(t *testing.T, s *Store, api *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, other, apikey.Active), 4), at(seal(t, s, d, apikey.Active), 5))
			api.answer(at(seal(t, s, d, apikey.Active), 5), nil)
		}, "Active", 1},
		"evicted and revoked since, which the watch has not told yet": {func(t *testing.T, s *Store, api *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, other, apikey.Active), 4), at(seal(t, s, d, apikey.Active), 5))
			api.answer(at(seal(t, s, d, apikey.Revoked), 12), nil)
		}, "Revoked", 1},
		"evicted and deleted since, which the watch has not told yet": {func(t *testing.T, s *Store, api *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, other, apikey.Active), 4), at(seal(t, s, d, apikey.Active), 5))
			api.answer(nil, notFound("it"))
		}, "absent", 1},
		"evicted in an outage": {func(t *testing.T, s *Store, api *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, other, apikey.Active), 4), at(seal(t, s, d, apikey.Active), 5))
			api.answer(nil, errDown)
		}, "error", 1},
		"evicted and edited without the seal key": {func(t *testing.T, s *Store, api *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, other, apikey.Active), 4), at(seal(t, s, d, apikey.Active), 5))
			api.answer(at(spoiled(seal(t, s, d, apikey.Active)), 10), nil)
		}, "error", 1},
		"evicted, and the API server is behind": {func(t *testing.T, s *Store, api *apiServer) {
			syncAt(t, s, 9, at(seal(t, s, other, apikey.Active), 4), at(seal(t, s, d, apikey.Revoked), 8))
			api.answer(at(seal(t, s, d, apikey.Active), 5), nil)
		}, "error", lookupAttempts},
	} {
		t.Run(name, func(t *testing.T) {
			s, api := newUnfed(t, 1)
			tc.arrange(t, s, api)
			if got := lookup(t, s, d); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if api.count() != tc.calls {
				t.Errorf("%d calls, want %d", api.count(), tc.calls)
			}
		})
	}
}

// TestLookupRemembers looks up an evicted key twice.
func TestLookupRemembers(t *testing.T) {
	d, other := digest(1), digest(2)
	for name, tc := range map[string]struct {
		first, second error
		want          [2]string
		calls         int
	}{
		"what was read":               {nil, errDown, [2]string{"Active", "Active"}, 1},
		"that there is no such key":   {notFound("it"), errDown, [2]string{"absent", "absent"}, 1},
		"nothing of an outage":        {errDown, nil, [2]string{"error", "Active"}, 2},
		"nothing of a second outage":  {errDown, errDown, [2]string{"error", "error"}, 2},
		"nothing that it was refused": {context.DeadlineExceeded, nil, [2]string{"error", "Active"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s, api := newUnfed(t, 1)
			secret := at(seal(t, s, d, apikey.Active), 5)
			syncAt(t, s, 9, at(seal(t, s, other, apikey.Active), 4), secret)
			for i, err := range []error{tc.first, tc.second} {
				if api.answer(secret, nil); err != nil {
					api.answer(nil, err)
				}
				if got := lookup(t, s, d); got != tc.want[i] {
					t.Errorf("look-up %d: got %s, want %s", i, got, tc.want[i])
				}
			}
			if api.count() != tc.calls {
				t.Errorf("%d calls, want %d", api.count(), tc.calls)
			}
		})
	}
}

// TestUnreadableRecord is of a newer version of Keygate: sealed, but with a field
// that this version does not know.
func TestUnreadableRecord(t *testing.T) {
	s, api := newUnfed(t, 1)
	d := digest(1)
	syncAt(t, s, 9, at(seal(t, s, d, apikey.Active), 5))
	event(t, s.feed.Update, at(extended(seal(t, s, d, apikey.Active), "record", `"aNewField":1`), 10))
	if got := lookup(t, s, d); got != "error" {
		t.Errorf("got %s, want error: nobody can tell what the new field forbids", got)
	}
	event(t, s.feed.Update, at(seal(t, s, d, apikey.Active), 11))
	if got := lookup(t, s, d); got != "Active" {
		t.Errorf("once it can be read: got %s, want Active", got)
	}
	if api.count() != 0 {
		t.Errorf("%d calls, want 0", api.count())
	}
}

func TestDigests(t *testing.T) {
	s, _ := newUnfed(t, 1)
	token := []byte("sk_0123456789abcdef0123456789abcdef0123456789abcdef")
	want, _ := s.root.Load().Peppers.Sum(token)
	got := s.Digests(nil, token)
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %v, want the digest under the only pepper", got)
	}
	s.root.Store(nil)
	got = s.Digests(nil, token)
	if len(got) != 1 {
		t.Fatalf("%d digests before there is a pepper, want 1", len(got))
	}
	if got := lookup(t, s, got[0]); got != "error" {
		t.Errorf("its look-up: got %s, want error", got)
	}
}

func TestNewRefuses(t *testing.T) {
	s, _ := newUnfed(t, 1)
	good := s.options
	for name, spoil := range map[string]func(*Options){
		"no client":             func(o *Options) { o.Client = nil },
		"no metadata client":    func(o *Options) { o.Metadata = nil },
		"no system namespace":   func(o *Options) { o.SystemNamespace = "" },
		"no keys namespace":     func(o *Options) { o.KeysNamespace = "" },
		"a negative cache size": func(o *Options) { o.CacheSize = -1 },
		"a negative interval":   func(o *Options) { o.RelistInterval = -1 },
		"a negative timeout":    func(o *Options) { o.FetchTimeout = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			spoil(&o)
			if _, err := New(o); err == nil {
				t.Error("New took it")
			}
		})
	}
}
