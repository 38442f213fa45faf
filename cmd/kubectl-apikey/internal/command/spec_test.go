package command

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
)

// TestSpec: what the flags say is what is asked for, and no more.
func TestSpec(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	lasts := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
	for name, tc := range map[string]struct {
		flags specFlags
		want  v1alpha1.APIKeySpec
	}{
		"only a policy":              {specFlags{policy: "p"}, v1alpha1.APIKeySpec{PolicyRef: v1alpha1.PolicyReference{Name: "p"}}},
		"a policy of one's own":      {specFlags{policy: "acme/p"}, v1alpha1.APIKeySpec{PolicyRef: v1alpha1.PolicyReference{Name: "p"}}},
		"another namespace's policy": {specFlags{policy: "x/p"}, v1alpha1.APIKeySpec{PolicyRef: v1alpha1.PolicyReference{Name: "p", Namespace: "x"}}},
		"everything": {
			specFlags{
				policy: "p", environment: "live", plan: "gold", expires: "90d", displayName: "CI", description: "d", scopes: []string{"a", "b"},
				cidrs: []string{"203.0.113.0/24"}, metadata: map[string]string{"team": "acme"}, retain: "Keep", secretName: "s", ttl: "2h", envVar: "KEY",
				rotateEvery: "30d", overlap: "0s",
			},
			v1alpha1.APIKeySpec{
				PolicyRef: v1alpha1.PolicyReference{Name: "p"}, Environment: "live", Plan: "gold", DisplayName: "CI", Description: "d",
				Scopes: []v1alpha1.ScopeName{"a", "b"}, AllowedCIDRs: []v1alpha1.CIDR{"203.0.113.0/24"},
				Metadata:  map[string]v1alpha1.MetadataValue{"team": "acme"},
				ExpiresAt: &metav1.Time{Time: now.Add(90 * 24 * time.Hour)},
				Rotation:  &v1alpha1.Rotation{Every: lasts(720 * time.Hour), Overlap: lasts(0)},
				Delivery:  v1alpha1.Delivery{SecretName: "s", Retain: "Keep", TTL: lasts(2 * time.Hour), EnvVar: "KEY"},
			},
		},
		"made elsewhere": {specFlags{policy: "p", sha256: hashOf("k")}, v1alpha1.APIKeySpec{PolicyRef: v1alpha1.PolicyReference{Name: "p"}, SHA256: hashOf("k")}},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := tc.flags.key("acme", "ci", now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, key.Spec); diff != "" || key.Namespace != "acme" || key.Name != "ci" {
				t.Error(diff)
			}
		})
	}
	for name, flags := range map[string]specFlags{
		"no policy": {}, "half a policy": {policy: "/p"}, "too much of one": {policy: "a/b/c"}, "a late end": {policy: "p", expires: "soon"},
		"half a hash": {policy: "p", sha256: "abc"}, "a hash in capitals": {policy: "p", sha256: "ABCDEF" + hashOf("k")[6:]},
		"no duration": {policy: "p", rotateEvery: "weekly"}, "no overlap": {policy: "p", overlap: "a day"}, "no ttl": {policy: "p", ttl: "1"},
	} {
		if _, err := flags.key("acme", "ci", now); outcome.Of(err).Code != outcome.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOldTokens: those that work and have a delivered successor.
func TestOldTokens(t *testing.T) {
	key := func(states ...string) *v1alpha1.APIKey {
		k := &v1alpha1.APIKey{}
		for i, state := range states {
			k.Status.Keys = append(k.Status.Keys, v1alpha1.IssuedKey{Serial: int64(i + 1), State: state})
		}
		return k
	}
	for name, tc := range map[string]struct {
		key  *v1alpha1.APIKey
		want int
	}{
		"none":                        {key(), 0},
		"one":                         {key("Active"), 0},
		"rotated":                     {key("Active", "Active"), 1},
		"twice":                       {key("Active", "Active", "Active"), 2},
		"ended":                       {key("Rotated", "Active"), 0},
		"the new one is not here yet": {key("Active", "Pending"), 0},
		"suspended":                   {key("Suspended", "Suspended"), 1},
	} {
		if got := oldTokens(tc.key); got != tc.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}
