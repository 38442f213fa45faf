package keystore

import (
	"context"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// TestSettleRaces has a repair read a name live, and an event arrive while the
// answer is on its way.
func TestSettleRaces(t *testing.T) {
	d := digest(1)
	read := func(state apikey.State, version uint64) func(t *testing.T, s *Store) (*corev1.Secret, error) {
		return func(t *testing.T, s *Store) (*corev1.Secret, error) { return at(seal(t, s, d, state), version), nil }
	}
	gone := func(*testing.T, *Store) (*corev1.Secret, error) { return nil, notFound("it") }
	quiet := func(*testing.T, *Store) {}
	for name, tc := range map[string]struct {
		known  bool // an active record of version 5
		answer func(t *testing.T, s *Store) (*corev1.Secret, error)
		event  func(t *testing.T, s *Store)
		want   string
		change string
	}{
		"a lost addition":                 {false, read(apikey.Active, 6), quiet, "Active", repairAdded},
		"a lost update":                   {true, read(apikey.Revoked, 6), quiet, "Revoked", repairUpdated},
		"a lost deletion":                 {true, gone, quiet, "absent", repairRemoved},
		"nothing was lost":                {true, read(apikey.Active, 5), quiet, "Active", ""},
		"gone before it was known":        {false, gone, quiet, "absent", ""},
		"an addition, deleted meanwhile":  {false, read(apikey.Active, 6), deletedAt(7), "absent", ""},
		"an addition, not in a list":      {false, read(apikey.Active, 6), func(t *testing.T, s *Store) { syncAt(t, s, 8) }, "absent", ""},
		"known, read, deleted meanwhile":  {true, read(apikey.Active, 6), deletedAt(7), "absent", ""},
		"known, deleted in a list":        {true, read(apikey.Active, 6), func(t *testing.T, s *Store) { syncAt(t, s, 8) }, "absent", ""},
		"an update, revoked meanwhile":    {true, read(apikey.Active, 6), updatedAt(apikey.Revoked, 7), "Revoked", ""},
		"a deletion, made again":          {true, gone, updatedAt(apikey.Active, 9), "Active", ""},
		"an addition, told of meanwhile":  {false, read(apikey.Active, 6), updatedAt(apikey.Active, 6), "Active", ""},
		"an addition, its past told late": {false, read(apikey.Revoked, 6), updatedAt(apikey.Active, 4), "Revoked", repairAdded},
	} {
		t.Run(name, func(t *testing.T) {
			s, api := newUnfed(t, 1)
			syncAt(t, s, 5)
			if tc.known {
				event(t, s.feed.Add, at(seal(t, s, d, apikey.Active), 5))
			}
			api.get = func(context.Context, string) (*corev1.Secret, error) {
				secret, err := tc.answer(t, s)
				tc.event(t, s)
				return secret, err
			}
			if err := s.relister.settle(t.Context(), keysecret.RecordName(d)); err != nil {
				t.Fatal(err)
			}
			api.answer(nil, errDown)
			if got := lookup(t, s, d); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			for _, change := range []string{repairAdded, repairUpdated, repairRemoved} {
				want := 0.0
				if change == tc.change {
					want = 1
				}
				if got := testutil.ToFloat64(s.metrics.repairs.WithLabelValues(change)); got != want {
					t.Errorf("%v repairs of kind %s, want %v", got, change, want)
				}
			}
		})
	}
}

func deletedAt(version uint64) func(t *testing.T, s *Store) {
	return func(t *testing.T, s *Store) {
		event(t, s.feed.Delete, at(seal(t, s, digest(1), apikey.Active), version))
	}
}

func updatedAt(state apikey.State, version uint64) func(t *testing.T, s *Store) {
	return func(t *testing.T, s *Store) { event(t, s.feed.Update, at(seal(t, s, digest(1), state), version)) }
}

// TestSettlePolicies does the same for a policy.
func TestSettlePolicies(t *testing.T) {
	const host = "api.stepsies.com"
	sealed := func(t *testing.T, s *Store, uid string, version uint64) *corev1.Secret {
		return at(sealPolicy(t, s.root.Load().Sealer, source("stepsies", uid, host)), version)
	}
	for name, tc := range map[string]struct {
		known   bool // the policy "a", of version 5
		answer  string
		deleted bool // meanwhile, as of version 7
		want    string
	}{
		"a lost addition":             {false, "b", false, "b"},
		"a lost update":               {true, "b", false, "b"},
		"a lost deletion":             {true, "", false, "unknown"},
		"an addition, deleted since":  {false, "b", true, "unknown"},
		"an update, deleted meantime": {true, "b", true, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			s, api := newUnfed(t, 1)
			if tc.known {
				event(t, s.feed.Add, sealed(t, s, "a", 5))
			}
			api.get = func(context.Context, string) (*corev1.Secret, error) {
				if tc.deleted {
					event(t, s.feed.Add, sealed(t, s, "a", 5))
					event(t, s.feed.Delete, sealed(t, s, "a", 7))
				}
				if tc.answer == "" {
					return nil, notFound("it")
				}
				return sealed(t, s, tc.answer, 6), nil
			}
			if err := s.relister.settle(t.Context(), keysecret.PolicyName("platform", "stepsies")); err != nil {
				t.Fatal(err)
			}
			if got := decidedBy(s.Policies(), host); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// TestMissingNames compares what is known with a list of names.
func TestMissingNames(t *testing.T) {
	s, _ := newUnfed(t, 1)
	for n := range 100 {
		s.feed.index.advance(digest(n), uint64(n+1))
	}
	listed := &nameList{at: 50, others: map[string]bool{}}
	for n := range 40 {
		listed.records = append(listed.records, prefixOf(digest(n)))
	}
	slices.Sort(listed.records)
	missing := map[string]bool{}
	for _, name := range listed.missing(s.feed) {
		missing[name] = true
	}
	for n := range 100 {
		if want := n >= 40 && n+1 <= 50; missing[keysecret.RecordName(digest(n))] != want {
			t.Errorf("digest %d of version %d: missing %v, want %v", n, n+1, !want, want)
		}
	}
}
