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
			if tc.want == "absent" && s.feed.cache.contains(d) {
				t.Error("what is gone takes the place of another in memory")
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
