package reconcile

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

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
