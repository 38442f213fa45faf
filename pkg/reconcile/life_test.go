package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

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
