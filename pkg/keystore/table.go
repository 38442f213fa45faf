package keystore

import (
	"encoding/binary"
	"iter"
	"math/bits"

	"keygate.dev/keygate/pkg/apikey"
)

// A table grows by a quarter once more than four of five slots are in use, so that
// a key takes 50 to 63 bytes.
const (
	loadUsed, loadOf = 4, 5
	growBy           = 4
	firstSlots       = 16
)

// table maps digest → resourceVersion in half the room of a Go map: open
// addressing with linear probing (Knuth, The Art of Computer Programming, volume 3,
// 6.4, algorithms L and R). Digests are keyed hashes: they are spread as they are,
// and nobody without the pepper can crowd them. The zero table is empty.
type table struct {
	slots []slot
	used  int
}

// slot is one digest; its version is 0 where the slot is free.
type slot struct {
	digest  apikey.Digest
	version uint64
}

// newTable makes a table with room for n digests.
func newTable(n int) table {
	return table{slots: make([]slot, n*loadOf/loadUsed+firstSlots)}
}

// get returns the digest's version, 0 where there is none.
func (t *table) get(d apikey.Digest) uint64 {
	if t.used == 0 {
		return 0
	}
	return t.slots[t.find(d)].version
}

// set gives a digest a version, which is not 0.
func (t *table) set(d apikey.Digest, version uint64) {
	if (t.used+1)*loadOf > len(t.slots)*loadUsed {
		t.grow()
	}
	s := &t.slots[t.find(d)]
	if s.version == 0 {
		t.used++
	}
	*s = slot{d, version}
}

// delete removes a digest, and moves up those behind it that would no longer be
// found.
func (t *table) delete(d apikey.Digest) {
	if t.get(d) == 0 {
		return
	}
	free := t.find(d)
	for i := t.next(free); t.slots[i].version != 0; i = t.next(i) {
		if t.distance(t.home(t.slots[i].digest), i) >= t.distance(free, i) {
			t.slots[free] = t.slots[i]
			free = i
		}
	}
	t.slots[free] = slot{}
	t.used--
}

// all are the digests with their versions.
func (t *table) all() iter.Seq2[apikey.Digest, uint64] {
	return func(yield func(apikey.Digest, uint64) bool) {
		for i := range t.slots {
			if s := &t.slots[i]; s.version != 0 && !yield(s.digest, s.version) {
				return
			}
		}
	}
}

// grow moves everything to a larger table.
func (t *table) grow() {
	larger := table{slots: make([]slot, len(t.slots)+len(t.slots)/growBy+firstSlots)}
	for d, version := range t.all() {
		larger.set(d, version)
	}
	*t = larger
}

// find is the slot of a digest, or the free one where it would go. There always is
// a free one.
func (t *table) find(d apikey.Digest) int {
	i := t.home(d)
	for t.slots[i].version != 0 && t.slots[i].digest != d {
		i = t.next(i)
	}
	return i
}

// home is the slot where the search for a digest begins: its share of the table.
func (t *table) home(d apikey.Digest) int {
	share, _ := bits.Mul64(binary.BigEndian.Uint64(d[8:]), uint64(len(t.slots)))
	return int(share)
}

func (t *table) next(i int) int {
	if i++; i == len(t.slots) {
		return 0
	}
	return i
}

// distance is the number of steps from one slot to another.
func (t *table) distance(from, to int) int {
	if to < from {
		to += len(t.slots)
	}
	return to - from
}
