package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// life is the facts of one APIKey under a controller that does at once what is decided.
type life struct {
	testing.TB
	facts
	last *desired
	// mints so far; undeliverable: none comes through.
	mints         int
	undeliverable bool
}

// aLife has the token of serial 1, delivered at noon and kept.
func aLife(t testing.TB, change ...func(*v1alpha1.APIKeySpec)) *life {
	t.Helper()
	l := &life{TB: t, facts: facts{key: aKey(change...), policy: aPolicy(t.(*testing.T), "read"), declared: true, now: noon}}
	l.key.Spec.Delivery.Retain = v1alpha1.RetainKeep
	l.settle()
	return l
}

// rotation is that of the spec.
func (l *life) rotation() *v1alpha1.Rotation {
	if l.key.Spec.Rotation == nil {
		l.key.Spec.Rotation = &v1alpha1.Rotation{Serial: 1}
	}
	return l.key.Spec.Rotation
}

func (l *life) raise(serial int64) {
	l.rotation().Serial = serial
	l.settle()
}

func (l *life) overlap(d time.Duration) {
	l.rotation().Overlap = &metav1.Duration{Duration: d}
	l.settle()
}

// at moves the clock to so long after noon.
func (l *life) at(d time.Duration) {
	l.now = noon.Add(d)
	l.settle()
}

// settle does what is decided until nothing is left to do.
func (l *life) settle() {
	l.Helper()
	for range 20 {
		l.last = decide(&l.facts)
		changed := l.last.ledger != nil || l.last.mint && !l.undeliverable || len(l.last.discard) > 0
		if l.last.ledger != nil {
			l.ledger = l.last.ledger
		}
		for i, r := range l.last.records {
			changed = changed || !sameRecord(r, l.records[i])
			if dead(l.records[i]) && l.records[i].State != r.State || r.Serial != l.records[i].Serial {
				l.Fatalf("%s came back as %s", describe(l.records[i]), describe(r))
			}
		}
		l.records = slices.DeleteFunc(slices.Clone(l.last.records), func(r *apikey.Record) bool {
			return slices.ContainsFunc(l.last.discard, func(gone *apikey.Record) bool { return gone.Digest == r.Digest })
		})
		if l.last.mint && !l.undeliverable {
			l.mint()
		}
		if !changed {
			return
		}
	}
	l.Fatalf("it never settles: %s", l)
}

// mint is M1 to M4.
func (l *life) mint() {
	l.records = slices.DeleteFunc(l.records, func(r *apikey.Record) bool { return r.State == apikey.Pending })
	l.mints++
	at := l.now
	r := aRecord(0, func(r *apikey.Record) {
		r.Digest = apikey.Digest{byte(l.mints), byte(l.mints >> 8), 1}
		r.Serial, r.Rotation, r.Environment = l.last.serial, l.requested(), l.last.environment
		r.IssuedAt, r.DeliveredAt = at, &at
	})
	l.ledger = l.ledgerNaming(r)
	l.records = append(l.records, r)
}

func (l *life) String() string {
	parts := []string{}
	for _, r := range slices.SortedFunc(slices.Values(l.records), newestFirst) {
		parts = append(parts, describe(r))
	}
	return strings.Join(parts, ", ")
}

// describe is a record's serial, state and end, counted from noon.
func describe(r *apikey.Record) string {
	text := fmt.Sprintf("%d %s", r.Serial, r.State)
	if r.ExpiresAt != nil {
		text += " until " + r.ExpiresAt.Sub(noon).String()
	}
	return text
}

func (l *life) is(want string) {
	l.Helper()
	if got := l.String(); got != want {
		l.Errorf("tokens: %s\n  want: %s", got, want)
	}
}

// ready checks the reasons of Ready and Delivered, and returns both messages.
func (l *life) ready(ready, delivered string) string {
	l.Helper()
	if l.last.ready.Reason != ready || l.last.delivered.Reason != delivered {
		l.Errorf("Ready %s, Delivered %s; want %s, %s", l.last.ready.Reason, l.last.delivered.Reason, ready, delivered)
	}
	return l.last.ready.Message + "\n" + l.last.delivered.Message
}

// lose removes the records of a serial.
func (l *life) lose(serial int64) {
	l.records = slices.DeleteFunc(l.records, func(r *apikey.Record) bool { return r.Serial == serial })
}

// record is the one of a serial.
func (l *life) record(serial int64) *apikey.Record {
	l.Helper()
	i := slices.IndexFunc(l.records, func(r *apikey.Record) bool { return r.Serial == serial })
	if i < 0 {
		l.Fatalf("there is no record of serial %d", serial)
	}
	return l.records[i]
}

// TestRotation: every transition of a rotation, by what becomes of the tokens.
func TestRotation(t *testing.T) {
	for name, test := range map[string]func(l *life){
		"not asked for": func(l *life) {
			l.at(1000 * time.Hour)
			l.is("1 Active")
		},
		"raised": func(l *life) {
			l.raise(2)
			l.is("2 Active, 1 Active until 24h0m0s")
			if got := l.last.wake.Sub(noon); got != 24*time.Hour {
				l.Errorf("it is looked at again after %s", got)
			}
			l.at(24*time.Hour - 1)
			l.is("2 Active, 1 Active until 24h0m0s")
			l.at(24 * time.Hour)
			l.is("2 Active, 1 Rotated until 24h0m0s")
		},
		"raised by many": func(l *life) {
			l.raise(7)
			l.is("7 Active, 1 Active until 24h0m0s")
		},
		"raised again in the overlap": func(l *life) {
			l.raise(2)
			l.at(time.Hour)
			l.raise(3)
			l.is("3 Active, 2 Active until 25h0m0s, 1 Active until 24h0m0s")
			l.at(24*time.Hour + time.Minute)
			l.is("3 Active, 2 Active until 25h0m0s, 1 Rotated until 24h0m0s")
			l.at(25 * time.Hour)
			l.is("3 Active, 2 Rotated until 25h0m0s, 1 Rotated until 24h0m0s")
		},
		"shortened in the overlap": func(l *life) {
			l.raise(2)
			l.at(time.Hour)
			l.overlap(2 * time.Hour)
			l.is("2 Active, 1 Active until 2h0m0s")
			l.at(2 * time.Hour)
			l.is("2 Active, 1 Rotated until 2h0m0s")
		},
		"shortened to what is past": func(l *life) {
			l.raise(2)
			l.at(time.Hour)
			l.overlap(time.Minute)
			l.is("2 Active, 1 Rotated until 1m0s")
		},
		"no overlap": func(l *life) {
			l.overlap(0)
			l.is("1 Active")
			l.raise(2)
			l.is("2 Active, 1 Rotated until 0s")
		},
		"lengthened in the overlap": func(l *life) {
			l.raise(2)
			l.at(23 * time.Hour)
			l.overlap(48 * time.Hour)
			l.is("2 Active, 1 Active until 48h0m0s")
		},
		"lengthened after the overlap": func(l *life) {
			l.raise(2)
			l.at(24 * time.Hour)
			l.overlap(1000 * time.Hour)
			l.is("2 Active, 1 Rotated until 24h0m0s")
		},
		"suspended in the overlap, resumed in it": func(l *life) {
			l.raise(2)
			l.key.Spec.State = v1alpha1.StateSuspended
			l.at(time.Hour)
			l.is("2 Suspended, 1 Suspended until 24h0m0s")
			l.key.Spec.State = v1alpha1.StateActive
			l.at(2 * time.Hour)
			l.is("2 Active, 1 Active until 24h0m0s")
		},
		"suspended in the overlap, resumed after it": func(l *life) {
			l.raise(2)
			l.key.Spec.State = v1alpha1.StateSuspended
			l.at(25 * time.Hour)
			l.is("2 Suspended, 1 Rotated until 24h0m0s")
			l.key.Spec.State = v1alpha1.StateActive
			l.at(26 * time.Hour)
			l.is("2 Active, 1 Rotated until 24h0m0s")
		},
		"raised while suspended": func(l *life) {
			l.key.Spec.State = v1alpha1.StateSuspended
			l.raise(2)
			l.is("2 Suspended, 1 Suspended until 24h0m0s")
			l.ready(v1alpha1.ReasonSuspended, v1alpha1.ReasonDelivered)
		},
		"revoked in the overlap": func(l *life) {
			l.raise(2)
			l.key.Spec.State = v1alpha1.StateRevoked
			l.at(time.Hour)
			l.is("2 Revoked, 1 Revoked until 24h0m0s")
			l.raise(3)
			l.is("2 Revoked, 1 Revoked until 24h0m0s")
			l.ready(v1alpha1.ReasonRevoked, v1alpha1.ReasonDelivered)
		},
		"revoked after an overlap": func(l *life) {
			l.raise(2)
			l.at(30 * time.Hour)
			l.key.Spec.State = v1alpha1.StateRevoked
			l.settle()
			l.is("2 Revoked, 1 Rotated until 24h0m0s")
		},
		"expires in the overlap": func(l *life) {
			l.raise(2)
			l.key.Spec.ExpiresAt = &metav1.Time{Time: noon.Add(time.Hour)}
			l.settle()
			l.is("2 Active until 1h0m0s, 1 Active until 1h0m0s")
			l.at(2 * time.Hour)
			l.raise(3)
			l.is("2 Active until 1h0m0s, 1 Active until 1h0m0s")
			l.ready(v1alpha1.ReasonExpired, v1alpha1.ReasonDelivered)
			l.key.Spec.ExpiresAt = nil
			l.settle()
			l.is("3 Active, 2 Active until 26h0m0s, 1 Active until 24h0m0s")
		},
		"expires after the overlap": func(l *life) {
			l.key.Spec.ExpiresAt = &metav1.Time{Time: noon.Add(100 * time.Hour)}
			l.raise(2)
			l.is("2 Active until 100h0m0s, 1 Active until 24h0m0s")
		},
		"no longer granted in the overlap": func(l *life) {
			l.raise(2)
			granted := l.policy
			l.policy = nil
			l.at(time.Hour)
			l.raise(3)
			l.is("2 NotGranted, 1 NotGranted until 24h0m0s")
			l.at(25 * time.Hour)
			l.is("2 NotGranted, 1 Rotated until 24h0m0s")
			l.policy = granted
			l.settle()
			l.is("3 Active, 2 Active until 49h0m0s, 1 Rotated until 24h0m0s")
		},
		"a scope is not granted": func(l *life) {
			l.key.Spec.Scopes = append(l.key.Spec.Scopes, "admin")
			l.raise(2)
			l.is("2 Active, 1 Active until 24h0m0s")
			l.ready(v1alpha1.ReasonScopesNotGranted, v1alpha1.ReasonDelivered)
		},
		"too many": func(l *life) {
			for serial := int64(2); serial <= maxLive; serial++ {
				l.now = l.now.Add(time.Minute)
				l.raise(serial)
			}
			if working := strings.Count(l.String(), "Active"); working != maxLive {
				l.Errorf("%d tokens work", working)
			}
			l.now = l.now.Add(time.Minute)
			l.raise(maxLive + 1)
			if got := l.record(1); got.State != apikey.Rotated || !got.ExpiresAt.Equal(l.now) {
				l.Errorf("the oldest is %s", describe(got))
			}
			if working := strings.Count(l.String(), "Active"); working != maxLive {
				l.Errorf("%d tokens work", working)
			}
		},
		"the first is asked for by number": func(l *life) {
			l.records, l.ledger = nil, nil
			l.raise(5)
			l.is("5 Active")
			l.raise(5)
			l.is("5 Active")
		},
		"made before there were rotations": func(l *life) {
			l.record(1).Rotation = 0
			l.settle()
			l.is("1 Active")
			l.raise(2)
			l.is("2 Active, 1 Active until 24h0m0s")
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := aLife(t)
			l.is("1 Active")
			test(l)
		})
	}
}

// TestRotationByItself: the token is replaced when its time is up, and once only.
func TestRotationByItself(t *testing.T) {
	every := func(every, overlap time.Duration) func(*v1alpha1.APIKeySpec) {
		return func(s *v1alpha1.APIKeySpec) {
			s.Rotation = &v1alpha1.Rotation{Serial: 1, Every: &metav1.Duration{Duration: every}, Overlap: &metav1.Duration{Duration: overlap}}
		}
	}
	soon := func(l *life, want string) {
		l.Helper()
		got := "none"
		if l.last.rotatingSoon != nil {
			got = string(l.last.rotatingSoon.Status)
		}
		if got != want {
			l.Errorf("RotatingSoon is %s, want %s", got, want)
		}
	}
	l := aLife(t, every(100*time.Hour, time.Hour))
	soon(l, "False")
	if got := l.last.wake.Sub(noon); got != 75*time.Hour {
		t.Errorf("it is looked at again after %s", got)
	}
	l.at(75 * time.Hour)
	soon(l, "True")
	if got := l.last.wake.Sub(noon); got != 100*time.Hour {
		t.Errorf("it is looked at again after %s", got)
	}
	l.at(100*time.Hour - 1)
	l.is("1 Active")
	l.at(100 * time.Hour)
	l.is("2 Active, 1 Active until 101h0m0s")
	soon(l, "False")
	if got := l.last.nextRotation.Sub(noon); got != 200*time.Hour {
		t.Errorf("the next rotation is after %s", got)
	}
	l.raise(2) // as asked for before it came by itself
	l.is("3 Active, 2 Active until 101h0m0s, 1 Active until 101h0m0s")
	l.at(1000 * time.Hour) // nobody was there for long
	l.is("4 Active, 3 Active until 1001h0m0s, 2 Rotated until 101h0m0s, 1 Rotated until 101h0m0s")

	l = aLife(t, every(10000*time.Hour, time.Hour))
	l.at(10000*time.Hour - maxNotice - 1)
	soon(l, "False")
	l.at(10000*time.Hour - maxNotice)
	soon(l, "True")

	l = aLife(t, every(10*time.Hour, time.Hour))
	l.key.Spec.ExpiresAt = &metav1.Time{Time: noon.Add(10 * time.Hour)}
	l.settle()
	soon(l, "none") // it expires before
	if !l.last.nextRotation.IsZero() {
		t.Errorf("the next rotation is at %s", l.last.nextRotation)
	}
	l.key.Spec.ExpiresAt, l.key.Spec.Delivery.Retain = nil, v1alpha1.RetainOnce
	l.at(1000 * time.Hour)
	l.is("1 Active") // nobody would learn of another
	soon(l, "none")
}

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

// TestYearOfRotations lets a year pass in steps of all lengths, with somebody who asks
// for rotations besides.
func TestYearOfRotations(t *testing.T) {
	l := aLife(t, func(s *v1alpha1.APIKeySpec) {
		s.Rotation = &v1alpha1.Rotation{Serial: 1, Every: &metav1.Duration{Duration: 20 * time.Hour}, Overlap: &metav1.Duration{Duration: 15 * time.Hour}}
	})
	dice := rand.New(rand.NewPCG(1, 2))
	newest := int64(0)
	for at := time.Duration(0); at < 365*24*time.Hour; {
		at += time.Duration(dice.Int64N(int64(8 * time.Hour)))
		l.at(at)
		if dice.IntN(20) == 0 {
			l.raise(l.rotation().Serial + 1)
		}
		if got := l.last.elected; got == nil || got.State != apikey.Active || got.Serial < newest || l.now.Sub(*got.DeliveredAt) >= 20*time.Hour {
			t.Fatalf("after %s: %s", at, l)
		}
		newest = l.last.elected.Serial
		if len(l.records) > maxLive+maxTombstones || len(l.ledger.Entries) > maxLive || len(issuedKeys(l.records)) > maxKeys {
			t.Fatalf("after %s: %d records, %d entries", at, len(l.records), len(l.ledger.Entries))
		}
		serials := map[int64]bool{}
		for _, r := range l.records {
			if serials[r.Serial] {
				t.Fatalf("after %s: two of serial %d: %s", at, r.Serial, l)
			}
			serials[r.Serial] = true
			if r.State == apikey.Active && r.Serial < newest && l.now.Sub(*l.record(r.Serial + 1).DeliveredAt) >= 15*time.Hour {
				t.Fatalf("after %s: %s works on", at, describe(r))
			}
		}
	}
	if l.mints < 400 || l.rotation().Serial < 20 {
		t.Errorf("%d rotations in a year, %d of them asked for", l.mints, l.rotation().Serial)
	}
	if tombstones := strings.Count(l.String(), "Rotated"); tombstones != maxTombstones {
		t.Errorf("%d tombstones are left", tombstones)
	}
}
