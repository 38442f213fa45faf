package keystore

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// TestRootFeed shows root Secrets to a store and checks which one is in force.
func TestRootFeed(t *testing.T) {
	first, second := keysecret.NewRootSecret("keygate-system"), keysecret.NewRootSecret("keygate-system")
	broken := keysecret.NewRootSecret("keygate-system")
	delete(broken.Data, "seal-1")
	stranger := keysecret.NewRootSecret("keygate-system")
	stranger.Name = "other"
	for name, tc := range map[string]struct {
		act     func(t *testing.T, f *rootFeed)
		want    string // which one's pepper is in force
		relists int
	}{
		"none": {func(t *testing.T, f *rootFeed) { _ = f.Replace(nil, "5") }, "none", 0},
		"listed": {func(t *testing.T, f *rootFeed) {
			_ = f.Replace([]any{at(first, 5)}, "6")
		}, "first", 0},
		"listed again": {func(t *testing.T, f *rootFeed) {
			_ = f.Replace([]any{at(first, 5)}, "6")
			_ = f.Replace([]any{at(first, 5)}, "7")
		}, "first", 0},
		"made later": {func(t *testing.T, f *rootFeed) {
			_ = f.Replace(nil, "5")
			event(t, f.Add, at(first, 6))
		}, "first", 0},
		"changed": {func(t *testing.T, f *rootFeed) {
			event(t, f.Add, at(first, 5))
			event(t, f.Update, at(second, 6))
		}, "second", 1},
		"unreadable": {func(t *testing.T, f *rootFeed) { event(t, f.Add, at(broken, 5)) }, "none", 0},
		"unreadable later": {func(t *testing.T, f *rootFeed) {
			event(t, f.Add, at(first, 5))
			event(t, f.Update, at(broken, 6))
		}, "first", 0},
		"repaired": {func(t *testing.T, f *rootFeed) {
			event(t, f.Add, at(first, 5))
			event(t, f.Update, at(broken, 6))
			event(t, f.Update, at(second, 7))
		}, "second", 1},
		"deleted": {func(t *testing.T, f *rootFeed) {
			event(t, f.Add, at(first, 5))
			event(t, f.Delete, at(first, 6))
		}, "first", 0},
		"gone from the list": {func(t *testing.T, f *rootFeed) {
			event(t, f.Add, at(first, 5))
			_ = f.Replace(nil, "7")
		}, "first", 0},
		"another Secret": {func(t *testing.T, f *rootFeed) { event(t, f.Add, at(stranger, 5)) }, "none", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newUnfed(t, 1)
			s.root.Store(nil)
			relists := 0
			s.rootFeed.changed = func() { relists++ }
			tc.act(t, s.rootFeed)
			got := "none"
			for name, secret := range map[string]map[string][]byte{"first": first.Data, "second": second.Data} {
				if root := s.root.Load(); root != nil && digestUnder(t, secret) == s.Digests(nil, []byte("token"))[0] {
					got = name
				}
			}
			if got != tc.want {
				t.Errorf("%s is in force, want %s", got, tc.want)
			}
			if relists != tc.relists {
				t.Errorf("%d relists, want %d", relists, tc.relists)
			}
			select {
			case <-s.rootFeed.first:
				if tc.want == "none" {
					t.Error("the feed of keys was started without a root")
				}
			default:
				if tc.want != "none" {
					t.Error("the feed of keys was not started")
				}
			}
		})
	}
}

// digestUnder is a digest under the pepper of a root Secret's data.
func digestUnder(t *testing.T, data map[string][]byte) apikey.Digest {
	t.Helper()
	peppers, err := apikey.NewPeppers(map[int][]byte{1: data["pepper-1"]})
	if err != nil {
		t.Fatal(err)
	}
	d, _ := peppers.Sum([]byte("token"))
	return d
}

// TestRootTroubleIsCounted checks the alarm for a root Secret that is gone.
func TestRootTroubleIsCounted(t *testing.T) {
	s, _ := newUnfed(t, 1)
	_ = s.rootFeed.Delete(nil)
	if got := testutil.ToFloat64(s.metrics.rejections.WithLabelValues(kindRoot, rejectMissing)); got != 1 {
		t.Errorf("counted %v, want 1", got)
	}
}
