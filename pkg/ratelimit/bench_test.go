package ratelimit

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// uids are as many keys as the Kubernetes API names objects.
func uids(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%08x-5b1e-4c0e-9d3f-0123456789ab", i)
	}
	return keys
}

// plan is what a key has in the benchmarks: two windows with room for all.
var plan = []Limit{per(MaxRequests, time.Second), per(MaxRequests, time.Hour)}

func benchmarkTake(b *testing.B, l Limiter, keys []string, limits []Limit) {
	b.Helper()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := l.Take(context.Background(), keys[i%len(keys)], limits, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMemoryTake(b *testing.B) {
	for name, keys := range map[string][]string{"1 key": uids(1), "1000000 keys": uids(1_000_000)} {
		b.Run(name, func(b *testing.B) {
			benchmarkTake(b, newTestMemory(b, Options{}), keys, plan)
		})
	}
}

func BenchmarkMemoryTakeLimited(b *testing.B) {
	m := newTestMemory(b, Options{})
	take(b, m, "a", hour(1), 1)
	benchmarkTake(b, m, []string{"a"}, hour(1))
}

// BenchmarkMemoryTakeFull asks for ever other keys of a Memory that is full of live
// ones: each forgets another.
func BenchmarkMemoryTakeFull(b *testing.B) {
	benchmarkTake(b, newTestMemory(b, Options{MaxKeys: 500_000}), uids(1_000_000), plan)
}

func BenchmarkMemoryTakeParallel(b *testing.B) {
	m, keys := newTestMemory(b, Options{}), uids(100_000)
	var workers atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := int(workers.Add(7919)); pb.Next(); i++ {
			if _, err := m.Take(context.Background(), keys[i%len(keys)], plan, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMemoryBytesPerKey(b *testing.B) {
	for name, limits := range map[string][]Limit{"1 window": hour(2), "2 windows": both(2, 2)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(bytesPerKey(b, 1_000_000, limits), "B/key")
			}
		})
	}
}

func BenchmarkRedisTake(b *testing.B) {
	benchmarkTake(b, newTestRedis(b, RedisOptions{URL: startRedisTCP(b).url}), uids(1000), plan)
}

func BenchmarkRedisTakeParallel(b *testing.B) {
	r, keys := newTestRedis(b, RedisOptions{URL: startRedisTCP(b).url}), uids(1000)
	var workers atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for i := int(workers.Add(79)); pb.Next(); i++ {
			if _, err := r.Take(context.Background(), keys[i%len(keys)], plan, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}
