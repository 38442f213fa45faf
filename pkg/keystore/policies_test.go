package keystore

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

// TestPolicies delivers events and checks by what policy, if any, the host is
// decided then: its uid, "unusable" or "unknown".
func TestPolicies(t *testing.T) {
	const host = "api.stepsies.com"
	sealed := func(t *testing.T, s *Store, uid string) *corev1.Secret {
		return sealPolicy(t, s.root.Load().Sealer, source("stepsies", uid, host))
	}
	uncompilable := func(t *testing.T, s *Store, uid string) *corev1.Secret {
		src := source("stepsies", uid, host)
		src.Spec.Rules[0].Scopes = []v1alpha1.ScopeName{"undeclared"}
		return sealPolicy(t, s.root.Load().Sealer, src)
	}
	newer := func(t *testing.T, s *Store, uid string) *corev1.Secret {
		return extended(sealed(t, s, uid), "policy", `"aNewField":1`)
	}
	forged := func(t *testing.T, s *Store, uid string) *corev1.Secret {
		secret := sealed(t, s, uid)
		secret.Data["policy"] = append(secret.Data["policy"], ' ')
		return secret
	}
	for name, tc := range map[string]struct {
		act  func(t *testing.T, s *Store)
		want string
	}{
		"none": {func(t *testing.T, s *Store) {}, "unknown"},
		"listed": {func(t *testing.T, s *Store) {
			syncAt(t, s, 9, at(sealed(t, s, "a"), 5))
		}, "a"},
		"added": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(sealed(t, s, "a"), 5))
		}, "a"},
		"deleted": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(sealed(t, s, "a"), 5))
			event(t, s.feed.Delete, at(sealed(t, s, "a"), 6))
		}, "unknown"},
		"deleted before it was made again": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(sealed(t, s, "b"), 7))
			event(t, s.feed.Delete, at(sealed(t, s, "a"), 6))
		}, "b"},
		"made again": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(sealed(t, s, "a"), 5))
			event(t, s.feed.Update, at(sealed(t, s, "b"), 6))
		}, "b"},
		"an older form": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(sealed(t, s, "b"), 6))
			event(t, s.feed.Update, at(sealed(t, s, "a"), 5))
		}, "b"},
		"gone from the list": {func(t *testing.T, s *Store) {
			syncAt(t, s, 9, at(sealed(t, s, "a"), 5))
			syncAt(t, s, 10)
		}, "unknown"},
		"younger than the list": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(sealed(t, s, "a"), 12))
			syncAt(t, s, 10)
		}, "a"},
		"can't be compiled": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(uncompilable(t, s, "a"), 5))
		}, "unusable"},
		"can't be compiled any more": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(sealed(t, s, "a"), 5))
			event(t, s.feed.Update, at(uncompilable(t, s, "a"), 6))
		}, "a"},
		"another that can't be compiled in its place": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(sealed(t, s, "a"), 5))
			event(t, s.feed.Update, at(uncompilable(t, s, "b"), 6))
		}, "unusable"},
		"of a newer version": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(newer(t, s, "a"), 5))
		}, "unusable"},
		"written over by a newer version": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(sealed(t, s, "a"), 5))
			event(t, s.feed.Update, at(newer(t, s, "a"), 6))
		}, "a"},
		"written over by a newer version, then a list": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(sealed(t, s, "a"), 5))
			syncAt(t, s, 10, at(newer(t, s, "a"), 6))
		}, "a"},
		"another of a newer version in its place": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(sealed(t, s, "a"), 5))
			event(t, s.feed.Update, at(newer(t, s, "b"), 6))
		}, "unusable"},
		"can be read again": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(newer(t, s, "b"), 6))
			event(t, s.feed.Update, at(sealed(t, s, "b"), 7))
		}, "b"},
		"forged": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(forged(t, s, "b"), 6))
		}, "unknown"},
		"sealed under another policy's name": {func(t *testing.T, s *Store) {
			secret := sealed(t, s, "a")
			secret.Name = keysecret.PolicyName("platform", "other")
			event(t, s.feed.Add, at(extended(secret, "policy", `"aNewField":1`), 6))
		}, "unknown"},
		"forged over a good one": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(sealed(t, s, "a"), 5))
			event(t, s.feed.Update, at(forged(t, s, "b"), 6))
		}, "a"},
		"forged over a good one, then a list": {func(t *testing.T, s *Store) {
			event(t, s.feed.Add, at(sealed(t, s, "a"), 5))
			syncAt(t, s, 10, at(forged(t, s, "b"), 6))
		}, "a"},
		"claims no host": {func(t *testing.T, s *Store) {
			src := source("stepsies", "a", host)
			src.ClaimsHosts = false
			event(t, s.feed.Add, at(extended(sealPolicy(t, s.root.Load().Sealer, src), "policy", `"aNewField":1`), 5))
		}, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newUnfed(t, 1)
			tc.act(t, s)
			if got := decidedBy(s.Policies(), host); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func decidedBy(table *policy.Table, host string) string {
	p, known := table.ByHost(host)
	switch {
	case p != nil:
		return p.Ref().UID
	case known:
		return "unusable"
	default:
		return "unknown"
	}
}
