package keystore

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"keygate.dev/keygate/pkg/apikey"
)

// TestTableIsAMap sets and deletes at random and compares with a Go map, with
// digests as they are, and with digests that all crowd in one place or at the end.
func TestTableIsAMap(t *testing.T) {
	for name, of := range map[string]func(n int) apikey.Digest{
		"spread":       digest,
		"in one place": func(n int) (d apikey.Digest) { d[31] = byte(n); d[30] = byte(n >> 8); d[8] = 0x7f; return d },
		"round the end": func(n int) (d apikey.Digest) {
			d = digest(n)
			binary.BigEndian.PutUint64(d[8:], ^uint64(0)-uint64(n)<<56)
			return d
		},
		"of few numbers": func(n int) apikey.Digest { return digest(n % 7) },
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			got, want := table{}, map[apikey.Digest]uint64{}
			for step := range 20_000 {
				d := of(random.IntN(300))
				if random.IntN(5) < 2 {
					got.delete(d)
					delete(want, d)
				} else {
					got.set(d, uint64(step+1))
					want[d] = uint64(step + 1)
				}
				if d := of(random.IntN(300)); got.get(d) != want[d] {
					t.Fatalf("step %d: got version %d, want %d", step, got.get(d), want[d])
				}
				if step%500 != 0 {
					continue
				}
				if diff := cmp.Diff(want, maps.Collect(got.all())); diff != "" || got.used != len(want) {
					t.Fatalf("step %d: %d of %d digests:\n%s", step, got.used, len(want), diff)
				}
			}
		})
	}
}

// TestTableIsCompact checks the bytes per key that are promised, at every size.
func TestTableIsCompact(t *testing.T) {
	const slotBytes = 40
	grown := table{}
	for n := 1; n <= 100_000; n++ {
		grown.set(digest(n), 1)
		if perKey := float64(len(grown.slots)*slotBytes) / float64(n); n > 1000 && perKey > 64 {
			t.Fatalf("%d keys take %.0f bytes each, want at most 64", n, perKey)
		}
	}
	made := newTable(100_000)
	room := len(made.slots)
	for n := range 100_000 {
		made.set(digest(n), 1)
	}
	if len(made.slots) != room {
		t.Error("a table with room for its digests grew")
	}
}
