package reconcile

import (
	"testing"
	"time"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/policy"
)

func TestWorse(t *testing.T) {
	record := func(revision int64, change ...func(*apikey.Record)) form {
		return form{record: aRecord(1, append(change, func(r *apikey.Record) { r.Revision = revision })...)}
	}
	retired := func(ago time.Duration) func(*apikey.Record) {
		return func(r *apikey.Record) {
			at := noon.Add(-ago)
			r.State, r.RetiredAt = apikey.Revoked, &at
		}
	}
	others := func(r *apikey.Record) { r.Owner.UID = "another-uid" }
	source := func(uid string, generation int64) form {
		return form{policy: &policy.Source{UID: uid, Generation: generation}}
	}
	ledger := form{ledger: &keysecret.Ledger{}}
	for name, test := range map[string]struct {
		old, next form
		deleted   bool
		want      bool
	}{
		"a record is made":                   {next: record(1)},
		"a record is written":                {old: record(1), next: record(2)},
		"only metadata of a record changed":  {old: record(2), next: record(2)},
		"a record is rolled back":            {old: record(2), next: record(1), want: true},
		"a record is spoiled":                {old: record(2), want: true},
		"a spoiled record is mended":         {next: record(2)},
		"an Active record is deleted":        {old: record(2), deleted: true, want: true},
		"a Pending record is deleted":        {old: record(1, pending), deleted: true},
		"a Pending record is spoiled":        {old: record(1, pending), want: true},
		"a tombstone is deleted before time": {old: record(3, retired(retention-time.Second)), deleted: true, want: true},
		"a tombstone has served its time":    {old: record(3, retired(retention)), deleted: true},
		"a key is registered by another":     {old: record(3, retired(time.Hour)), next: record(4, others)},
		"one is registered over a lost one":  {old: record(1), next: record(1, others), want: true},
		"and that is undone":                 {old: record(1, others), next: record(2)},
		"a ledger is spoiled":                {old: ledger, want: true},
		"a ledger is written":                {old: ledger, next: ledger},
		"a ledger is deleted":                {old: ledger, deleted: true},
		"a policy is written":                {old: source("a", 1), next: source("a", 2)},
		"a policy is rolled back":            {old: source("a", 2), next: source("a", 1), want: true},
		"a policy is made anew":              {old: source("a", 2), next: source("b", 1)},
		"a policy is spoiled":                {old: source("a", 2), want: true},
		"a policy is deleted":                {old: source("a", 2), deleted: true, want: true},
		"junk is changed":                    {},
		"junk is deleted":                    {deleted: true},
		"a record became another type":       {old: record(1), next: ledger, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDrift(nil, func() time.Time { return noon })
			if got := d.worse(test.old, test.next, test.deleted); got != test.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
