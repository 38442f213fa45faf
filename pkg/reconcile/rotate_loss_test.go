package reconcile

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// TestRotationAfterLosses: what is lost, or put back from a backup, while no controller
// runs brings no ended token back, and makes none anew that is there.
func TestRotationAfterLosses(t *testing.T) {
	for name, test := range map[string]func(l *life){
		"the ledger, in the overlap": func(l *life) {
			l.ledger = nil
			l.settle()
			l.is("2 Active, 1 Active until 24h0m0s")
			if got := l.named(); !slices.Equal(got, []int64{1, 2}) {
				l.Errorf("the ledger names %v", got)
			}
		},
		"the ledger, after the overlap": func(l *life) {
			l.at(25 * time.Hour)
			l.ledger = nil
			l.settle()
			l.is("2 Active, 1 Rotated until 24h0m0s")
			if got := l.named(); !slices.Equal(got, []int64{2}) {
				l.Errorf("the ledger names %v", got)
			}
		},
		"the ledger is rolled back": func(l *life) {
			l.ledger = naming(1)
			l.ledger.Entries[1] = l.ledgerNaming(l.record(1)).Entries[1]
			l.settle()
			l.is("2 Active, 1 Active until 24h0m0s")
		},
		"the ledger is rolled back to a token that was given up": func(l *life) {
			entry := l.ledger.Entries[2]
			entry.Digest = apikey.Digest{99}
			l.ledger.Entries[2] = entry
			l.settle()
			l.is("2 Active, 1 Active until 24h0m0s")
			if l.ledger.Entries[2].Digest != l.record(2).Digest {
				l.Error("the ledger names another")
			}
		},
		"the older record": func(l *life) {
			l.lose(1)
			l.settle()
			l.is("2 Active")
		},
		"the newer record": func(l *life) {
			l.lose(2)
			l.at(time.Hour)
			l.is("2 Active, 1 Active until 24h0m0s")
			if l.mints != 3 {
				l.Errorf("%d tokens were minted", l.mints)
			}
		},
		"the newer record, found after the overlap": func(l *life) {
			l.lose(2)
			l.at(30 * time.Hour)
			l.is("2 Active, 1 Rotated until 24h0m0s")
		},
		"the newer record and the ledger": func(l *life) {
			l.lose(2)
			l.ledger, l.key.Spec.Rotation = nil, nil
			l.at(time.Hour)
			l.is("2 Active, 1 Active until 24h0m0s")
		},
		"the newer record, and nothing may be issued": func(l *life) {
			l.lose(2)
			l.policy = nil
			l.at(25 * time.Hour)
			l.is("1 Rotated until 24h0m0s")
			l.ready(v1alpha1.ReasonPolicyNotFound, v1alpha1.ReasonNothingIssued)
		},
		"the older record is rolled back in the overlap": func(l *life) {
			old := l.record(1)
			old.SupersededAt, old.ExpiresAt, old.HandedOver = nil, nil, false
			l.settle()
			l.is("2 Active, 1 Active until 24h0m0s")
			if !l.record(1).HandedOver {
				l.Error("the Secret that holds the newer token is to be deleted")
			}
		},
		"the older record is rolled back after the overlap, which is lengthened": func(l *life) {
			l.at(25 * time.Hour)
			old := l.record(1)
			old.State, old.SupersededAt, old.ExpiresAt = apikey.Active, nil, nil
			l.overlap(1000 * time.Hour)
			l.is("2 Active, 1 Rotated until 25h0m0s")
		},
		"a second record of the older serial": func(l *life) {
			l.records = append(l.records, aRecord(99, func(r *apikey.Record) { r.IssuedAt = noon.Add(time.Hour) }))
			l.settle()
			l.is("2 Active, 1 Revoked, 1 Active until 24h0m0s")
		},
		"a second record of the older serial, after the overlap": func(l *life) {
			l.at(25 * time.Hour)
			l.records = append(l.records, aRecord(99))
			l.settle()
			l.is("2 Active, 1 Rotated until 24h0m0s, 1 Rotated until 24h0m0s")
		},
		"a pending record of the older serial": func(l *life) {
			l.records = append(l.records, aRecord(99, pending))
			l.settle()
			l.is("2 Active, 1 Active until 24h0m0s")
		},
		"the newer record is rolled back to Pending": func(l *life) {
			pending(l.record(2))
			l.settle()
			l.is("2 Active, 1 Active until 24h0m0s")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := aLife(t)
			l.raise(2)
			l.is("2 Active, 1 Active until 24h0m0s")
			test(l)
		})
	}
}

// TestRotationStuck: a new token that can't be delivered leaves the old one as it is.
func TestRotationStuck(t *testing.T) {
	l := aLife(t)
	l.undeliverable, l.failure = true, &failure{reason: "DeliveryConflict", message: "the Secret is taken", until: noon.Add(time.Second)}
	l.raise(2)
	if l.last.mint {
		t.Error("it is tried again too soon")
	}
	l.is("1 Active")
	if said := l.ready(v1alpha1.ReasonActive, v1alpha1.ReasonDeliveryConflict); strings.Count(said, "the Secret is taken") != 2 {
		t.Errorf("the conditions say: %s", said)
	}
	l.at(time.Second)
	if !l.last.mint || l.last.serial != 2 {
		t.Error("it is not tried again")
	}
	l.ledger.Entries[2] = l.ledgerNaming(aRecord(99)).Entries[1] // its record is gone again
	l.rotation().Serial = 3
	l.settle()
	if !l.last.mint || l.last.serial != 2 {
		t.Errorf("serial %d is minted, which leaves one out", l.last.serial)
	}
	l.ready(v1alpha1.ReasonActive, v1alpha1.ReasonDeliveryConflict)
	l.undeliverable, l.failure = false, nil
	l.settle()
	l.is("2 Active, 1 Active until 24h0m1s")
	if said := l.ready(v1alpha1.ReasonActive, v1alpha1.ReasonDelivered); !strings.Contains(said, l.record(1).Digest.ID()+" until 2026-06-02T12:00:01Z") {
		t.Errorf("the conditions say: %s", said)
	}
}

// TestDoubtful: while a Secret may hold a token of nobody knows which serial, no other
// is made, and the one that works goes on.
func TestDoubtful(t *testing.T) {
	l := aLife(t)
	l.doubtful = "key-x"
	l.raise(2)
	l.is("1 Active")
	if said := l.ready(v1alpha1.ReasonActive, v1alpha1.ReasonPending); !strings.Contains(said, "key-x") {
		t.Errorf("the conditions say: %s", said)
	}
}

// TestSpoiledOlder: a record that cannot be read is left alone in its overlap and ended
// after it.
func TestSpoiledOlder(t *testing.T) {
	for name, end := range map[string]func(l *life){
		"the overlap ends": func(l *life) {
			l.at(24 * time.Hour)
			l.is("2 Active, 1 Rotated until 24h0m0s")
		},
		"the key is revoked": func(l *life) {
			l.key.Spec.State = v1alpha1.StateRevoked
			l.settle()
			l.is("2 Revoked, 1 Revoked")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := aLife(t)
			l.raise(2)
			old := l.record(1)
			*old = apikey.Record{Digest: old.Digest, Pepper: 1, Owner: old.Owner, Serial: 1, Policy: old.Policy, Environment: "live", State: apikey.NotGranted, Revision: 1}
			spoiled := *old
			l.spoiled = []string{"key-x"}
			l.at(23 * time.Hour)
			if diff := cmp.Diff(&spoiled, l.record(1)); diff != "" {
				t.Errorf("it is written over (-want +got):\n%s", diff)
			}
			if said := l.ready(v1alpha1.ReasonActive, v1alpha1.ReasonDelivered); !strings.Contains(said, "key-x") {
				t.Errorf("the conditions say: %s", said)
			}
			if got := l.last.wake.Sub(noon); got != 24*time.Hour {
				t.Errorf("it is looked at again after %s", got)
			}
			if keys := issuedKeys(l.records); keys[1].State != stateUnreadable {
				t.Errorf("the status says %s", keys[1].State)
			}
			end(l)
		})
	}
}
