package reconcile

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// TestHandedOver: which delivery Secret is looked for no more, and when.
func TestHandedOver(t *testing.T) {
	id := func(b byte) string { return apikey.Digest{b}.ID() }
	at := func(d time.Duration) *time.Time { at := noon.Add(d); return &at }
	second := func(change ...func(*apikey.Record)) *apikey.Record {
		return aRecord(2, append([]func(*apikey.Record){func(r *apikey.Record) { r.Serial, r.Rotation, r.DeliveredAt = 2, 2, at(0) }}, change...)...)
	}
	underWay := func(since time.Duration) *apikey.Record {
		return second(pending, func(r *apikey.Record) { r.IssuedAt = noon.Add(-since) })
	}
	for name, test := range map[string]struct {
		records   []*apikey.Record
		collected string
		// after noon
		now  time.Duration
		want []bool // by record
	}{
		"nobody says so":                 {[]*apikey.Record{aRecord(1)}, "", 0, []bool{false}},
		"collected":                      {[]*apikey.Record{aRecord(1)}, id(1), 0, []bool{true}},
		"another one collected":          {[]*apikey.Record{aRecord(1)}, id(2), 0, []bool{false}},
		"nonsense":                       {[]*apikey.Record{aRecord(1)}, "yes", 0, []bool{false}},
		"its time is up":                 {[]*apikey.Record{aRecord(1)}, "", 23 * time.Hour, []bool{true}},
		"another token has its place":    {[]*apikey.Record{aRecord(1), second()}, "", 0, []bool{true, false}},
		"the older one collected":        {[]*apikey.Record{aRecord(1), second()}, id(1), 0, []bool{true, false}},
		"the newer one collected":        {[]*apikey.Record{aRecord(1), second()}, id(2), 0, []bool{true, true}},
		"another is on its way":          {[]*apikey.Record{aRecord(1), underWay(0)}, id(1), 0, []bool{false, false}},
		"another was on its way":         {[]*apikey.Record{aRecord(1), underWay(pendingGrace)}, id(1), 0, []bool{true, false}},
		"on its way and collected":       {[]*apikey.Record{aRecord(1), underWay(0)}, id(2), 0, []bool{false, false}},
		"time is up, another on its way": {[]*apikey.Record{aRecord(1), underWay(-23 * time.Hour)}, "", 23 * time.Hour, []bool{false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts{key: aKey(), policy: aPolicy(t, "read"), records: test.records, now: noon.Add(test.now)}
			f.key.Annotations = map[string]string{v1alpha1.AnnotationCollected: test.collected}
			f.ledger = &keysecret.Ledger{Entries: map[int64]keysecret.LedgerEntry{}}
			for _, r := range test.records {
				f.ledger.Entries[r.Serial] = keysecret.LedgerEntry{Digest: r.Digest, Environment: r.Environment}
			}
			var got []bool
			for _, r := range decide(&f).records {
				got = append(got, r.HandedOver)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestUsage: of extauthz's own part of a status only what is of tokens that are gone is
// taken out.
func TestUsage(t *testing.T) {
	key := aKey()
	used := metav1.NewTime(noon)
	id := apikey.Digest{1}.ID()
	key.Status.LastUsedAt, key.Status.Usage = &used, map[string]metav1.Time{id: used, "0123456789abcdef": used}
	statusOf(key, decide(&facts{key: key, policy: aPolicy(t, "read"), ledger: naming(1), records: []*apikey.Record{aRecord(1)}, now: noon}), noon)
	if diff := cmp.Diff(map[string]metav1.Time{id: used}, key.Status.Usage); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if key.Status.LastUsedAt != &used {
		t.Errorf("last used at %s", key.Status.LastUsedAt)
	}
}

// TestIssuedKeys: however many are dead, every token that works is listed.
func TestIssuedKeys(t *testing.T) {
	var records []*apikey.Record
	for i := range byte(maxLive + maxTombstones) {
		records = append(records, aRecord(i+1, func(r *apikey.Record) {
			if r.Serial = int64(i + 1); i >= maxLive {
				r.State = apikey.Rotated
			}
		}))
	}
	keys := issuedKeys(records)
	if len(keys) != maxKeys {
		t.Errorf("%d keys", len(keys))
	}
	working := 0
	for i, key := range keys {
		if key.State == string(apikey.Active) {
			working++
		}
		if i > 0 && key.Serial >= keys[i-1].Serial {
			t.Errorf("serial %d comes after %d", key.Serial, keys[i-1].Serial)
		}
	}
	if working != maxLive {
		t.Errorf("%d that work are listed", working)
	}
}

// TestOnItsWay: while a later token may be on its way into a delivery Secret, that is
// not deleted, and what others came after is not minted.
func TestOnItsWay(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	key := c.issued("watched", keeps)
	c.patch(key, `{"spec":{"rotation":{"overlap":"0s"}}}`)
	c.rotates(key, 2)
	c.eventually(func() error {
		if l := formOf(c.root().Sealer, c.ledgerSecret(key)).ledger; l == nil || len(l.Entries) != 1 {
			return fmt.Errorf("ledger: %+v", l)
		}
		return nil
	})
	stop()
	s := &store{client: c.admin, live: c.admin, sealer: c.root().Sealer, namespace: keysNamespace}
	r := &keys{store: s, attempts: newAttempts(c.clock.now), now: c.clock.now}
	later := *c.serial(key, 2)
	later.Digest, later.Serial, later.State, later.IssuedAt = apikey.Digest{3}, 3, apikey.Pending, c.clock.now()
	for name, test := range map[string]struct {
		record int64
		now    time.Duration
		want   error
	}{
		"the newest of all":                 {2, 0, nil},
		"another one was delivered":         {1, 0, errLostRace},
		"another one is on its way":         {2, 0, errLostRace},
		"another one was given up for long": {2, pendingGrace, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{facts: facts{key: key, ledger: formOf(s.sealer, c.ledgerSecret(key)).ledger}, ledgerSecret: c.ledgerSecret(key)}
			if strings.Contains(name, "way") || test.now > 0 {
				secret, err := s.putRecord(t.Context(), &later, nil)
				must(t, err)
				restore := w.ledgerSecret
				named, err := s.putLedger(t.Context(), w.ledgerNaming(&later), w.ledgerSecret)
				must(t, err)
				defer func() {
					must(t, c.admin.Delete(c.Context(), secret))
					restore.ResourceVersion = named.ResourceVersion
					must(t, c.admin.Update(c.Context(), restore))
				}()
				r.now = func() time.Time { return later.IssuedAt.Add(test.now) }
			}
			if err := r.confirmNewest(t.Context(), key, c.serial(key, test.record)); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	for serial, want := range map[int64]time.Duration{1: lookAgain, 2: lookAgain, 3: 0} {
		w := &world{facts: facts{key: key}}
		if wait, err := r.recover(t.Context(), w, serial); err != nil || wait != want {
			t.Errorf("serial %d: wait %s, %v; want %s", serial, wait, err, want)
		}
	}
}
