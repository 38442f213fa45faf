package keystore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
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

// TestEventBeatsLookupInFlight lets an event arrive while the API server's answer,
// which was true before it, is on its way.
func TestEventBeatsLookupInFlight(t *testing.T) {
	d, other := digest(1), digest(2)
	for name, tc := range map[string]struct {
		answer func(t *testing.T, s *Store) (*corev1.Secret, error)
		event  func(t *testing.T, s *Store)
		want   string
	}{
		"a revocation": {activeAt(5), func(t *testing.T, s *Store) {
			event(t, s.feed.Update, at(seal(t, s, d, apikey.Revoked), 10))
		}, "Revoked"},
		"a deletion": {activeAt(5), func(t *testing.T, s *Store) {
			event(t, s.feed.Delete, at(seal(t, s, d, apikey.Active), 10))
		}, "absent"},
		"a deletion, seen by the read in a later form": {activeAt(9), func(t *testing.T, s *Store) {
			event(t, s.feed.Delete, at(seal(t, s, d, apikey.Active), 10))
		}, "absent"},
		"a list without it": {activeAt(5), func(t *testing.T, s *Store) { syncAt(t, s, 20) }, "absent"},
		"deleted, made again and revoked": {activeAt(5), func(t *testing.T, s *Store) {
			event(t, s.feed.Delete, at(seal(t, s, d, apikey.Active), 10))
			event(t, s.feed.Add, at(seal(t, s, d, apikey.Revoked), 11))
		}, "Revoked"},
		"made again after the read found nothing": {
			func(*testing.T, *Store) (*corev1.Secret, error) { return nil, notFound("it") },
			func(t *testing.T, s *Store) {
				event(t, s.feed.Delete, at(seal(t, s, d, apikey.Active), 10))
				event(t, s.feed.Add, at(seal(t, s, d, apikey.Active), 11))
			}, "Active"},
		"an update, and the read was ahead of it": {activeAt(12), func(t *testing.T, s *Store) {
			event(t, s.feed.Update, at(seal(t, s, d, apikey.Suspended), 10))
		}, "Active"},
	} {
		t.Run(name, func(t *testing.T) {
			s, api := newUnfed(t, 1)
			syncAt(t, s, 9, at(seal(t, s, other, apikey.Active), 4), at(seal(t, s, d, apikey.Active), 5))
			api.get = func(context.Context, string) (*corev1.Secret, error) {
				api.answer(at(seal(t, s, d, apikey.Revoked), 11), nil) // to whoever asks again
				secret, err := tc.answer(t, s)
				tc.event(t, s)
				return secret, err
			}
			if got := lookup(t, s, d); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			api.answer(nil, errDown)
			if got := lookup(t, s, d); got != tc.want {
				t.Errorf("later: got %s, want %s", got, tc.want)
			}
		})
	}
}

// activeAt is the key in a form that lets callers in.
func activeAt(version uint64) func(t *testing.T, s *Store) (*corev1.Secret, error) {
	return func(t *testing.T, s *Store) (*corev1.Secret, error) {
		return at(seal(t, s, digest(1), apikey.Active), version), nil
	}
}

// TestLateJoinerIsNotToldThePast joins a read whose answer was settled before an
// event that the look-up began after.
func TestLateJoinerIsNotToldThePast(t *testing.T) {
	d, other := digest(1), digest(2)
	for name, tc := range map[string]struct {
		settled *entry // what the read in flight will say
		event   func(t *testing.T, s *Store)
		live    func(t *testing.T, s *Store) (*corev1.Secret, error)
		want    string
	}{
		"revoked since": {testEntry(1, 5),
			func(t *testing.T, s *Store) { event(t, s.feed.Update, at(seal(t, s, d, apikey.Revoked), 10)) },
			func(t *testing.T, s *Store) (*corev1.Secret, error) {
				return at(seal(t, s, d, apikey.Revoked), 10), nil
			}, "Revoked"},
		"made again since": {nil,
			func(t *testing.T, s *Store) {
				event(t, s.feed.Delete, at(seal(t, s, d, apikey.Active), 9))
				event(t, s.feed.Add, at(seal(t, s, d, apikey.Active), 10))
				event(t, s.feed.Add, at(seal(t, s, other, apikey.Active), 11)) // evicts it
			}, activeAt(10), "Active"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, api := newUnfed(t, 1)
				syncAt(t, s, 8, at(seal(t, s, other, apikey.Active), 4), at(seal(t, s, d, apikey.Active), 5))
				release := make(chan struct{})
				s.fetcher.flights.DoChan(string(d[:]), func() (any, error) {
					<-release
					return tc.settled, nil
				})
				tc.event(t, s)
				secret, err := tc.live(t, s)
				api.answer(secret, err)
				got := make(chan string, 1)
				go func() { got <- answerOf(s.Lookup(t.Context(), d)) }()
				synctest.Wait()
				close(release)
				if got := <-got; got != tc.want {
					t.Errorf("got %s, want %s", got, tc.want)
				}
			})
		})
	}
}

// TestLookupsShareOneRead has many callers ask at a time; the first gives up.
func TestLookupsShareOneRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, api := newUnfed(t, 1)
		d := digest(1)
		secret := at(seal(t, s, d, apikey.Active), 5)
		syncAt(t, s, 9, at(seal(t, s, digest(2), apikey.Active), 4), secret)
		release := make(chan struct{})
		api.get = func(ctx context.Context, _ string) (*corev1.Secret, error) {
			select {
			case <-release:
				return secret, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		first, giveUp := context.WithCancel(t.Context())
		gaveUp := make(chan error, 1)
		go func() {
			_, err := s.Lookup(first, d)
			gaveUp <- err
		}()
		synctest.Wait()
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() {
				if got := lookup(t, s, d); got != "Active" {
					t.Errorf("got %s, want Active", got)
				}
			})
		}
		synctest.Wait()
		giveUp()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller that gave up: %v, want context.Canceled", err)
		}
		close(release)
		callers.Wait()
		if api.count() != 1 {
			t.Errorf("%d reads for all of them, want 1", api.count())
		}
	})
}

// TestLookupIsBounded asks an API server that never answers.
func TestLookupIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, api := newUnfed(t, 1)
		d := digest(1)
		syncAt(t, s, 9, at(seal(t, s, digest(2), apikey.Active), 4), at(seal(t, s, d, apikey.Active), 5))
		api.get = func(ctx context.Context, _ string) (*corev1.Secret, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		start := time.Now()
		if got := lookup(t, s, d); got != "error" {
			t.Errorf("got %s, want error", got)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v, want the default of 1s", took)
		}
	})
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
