package keystore

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"keygate.dev/keygate/pkg/apikey"
)

var benchSizes = []int{1_000, 100_000, 1_000_000}

// heap is the bytes in use once all garbage is gone.
func heap() float64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

// filled is a synced Store that knows some keys, all of them in memory.
type filled struct {
	*Store
	// perKey and perRecord are the bytes that each key takes in the index, and that
	// each record in memory takes beyond that.
	perKey, perRecord float64
}

// fill makes a Store know n keys, as the watch would.
func fill(b *testing.B, n int) *filled {
	b.Helper()
	s, _ := newUnfed(b, n+n/10) // with room: shards of a cache fill unevenly
	s.feed.synced.Store(true)
	before := heap()
	for i := range n {
		s.feed.index.advance(digest(i), uint64(i+1))
	}
	indexed := heap()
	for i := range n {
		s.feed.cache.put(s.feed.decoder.interner.compact(benchRecord(i), uint64(i+1)), false)
	}
	cached := heap()
	return &filled{s, (indexed - before) / float64(n), (cached - indexed) / float64(n)}
}

// benchRecord is a record with strings of its own, as a decoder makes them.
func benchRecord(n int) *apikey.Record {
	r := record(digest(n))
	r.Policy.Name = fmt.Sprint("stepsies-", n%100)
	r.Scopes = []string{strings.Clone("read"), strings.Clone("write")}
	return r
}

// BenchmarkLookup looks keys up in random order: known ones in memory, and random
// tokens.
func BenchmarkLookup(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			s := fill(b, n)
			b.Run("known", func(b *testing.B) { s.lookups(b, n, 0) })
			b.Run("random", func(b *testing.B) { s.lookups(b, n, 1<<32) })
		})
	}
}

// lookups measures look-ups of n digests from the first on.
func (s *filled) lookups(b *testing.B, n, first int) {
	digests := make([]apikey.Digest, 1<<16)
	for i := range digests {
		digests[i] = digest(first + i*31%n)
	}
	ctx := context.Background()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			record, err := s.Lookup(ctx, digests[i%len(digests)])
			if err != nil || (record == nil) != (first != 0) {
				b.Errorf("got %v, %v", record, err)
				return
			}
		}
	})
	b.ReportMetric(s.perKey, "index-B/key")
	b.ReportMetric(s.perRecord, "record-B/key")
}

// BenchmarkEvent takes in updates: checks the seal, reads the record, indexes it.
func BenchmarkEvent(b *testing.B) {
	s, _ := newUnfed(b, 1_000)
	secrets := make([]*corev1.Secret, 1_000)
	for i := range secrets {
		secrets[i] = seal(b, s, digest(i), apikey.Active)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		event(b, s.feed.Update, at(secrets[i%len(secrets)], uint64(i+1)))
	}
}
