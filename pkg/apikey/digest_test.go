package apikey

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pepper is a pepper of equal bytes.
func pepper(b byte) []byte { return bytes.Repeat([]byte{b}, PepperSize) }

// newPeppers makes Peppers or fails the test.
func newPeppers(tb testing.TB, byVersion map[int][]byte) *Peppers {
	tb.Helper()
	p, err := NewPeppers(byVersion)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// want is the digest as its definition says.
func want(pepper []byte, token string) (d Digest) {
	inner := sha256.Sum256([]byte(token))
	mac := hmac.New(sha256.New, pepper)
	mac.Write(inner[:])
	mac.Sum(d[:0])
	return d
}

func TestDigestsNewestFirst(t *testing.T) {
	p := newPeppers(t, map[int][]byte{2: pepper('b'), 9: pepper('c'), 1: pepper('a')})
	got := p.Digests(nil, []byte("sk_token"))
	if diff := cmp.Diff([]Digest{want(pepper('c'), "sk_token"), want(pepper('b'), "sk_token"), want(pepper('a'), "sk_token")}, got); diff != "" {
		t.Error(diff)
	}
	d, version := p.Sum([]byte("sk_token"))
	if d != got[0] || version != 9 || p.Newest() != 9 {
		t.Errorf("Sum() is %v of version %d, newest %d; want the first digest, of version 9", d, version, p.Newest())
	}
}

func TestDigestsAppends(t *testing.T) {
	p := newPeppers(t, map[int][]byte{1: pepper('a')})
	got := p.Digests([]Digest{{1}}, []byte("x"))
	if diff := cmp.Diff([]Digest{{1}, want(pepper('a'), "x")}, got); diff != "" {
		t.Error(diff)
	}
}

// A registered key is found by its token, under whichever pepper.
func TestRegisteredIsWhatTheTokenHas(t *testing.T) {
	p := newPeppers(t, map[int][]byte{2: pepper('b'), 9: pepper('c'), 1: pepper('a')})
	hash, err := ParseHash(fmt.Sprintf("%x", sha256.Sum256([]byte("sk_token"))))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p.Digests(nil, []byte("sk_token")), p.Registered(hash)); diff != "" {
		t.Error(diff)
	}
}

func TestParseHashRefuses(t *testing.T) {
	good := strings.Repeat("0a", 32)
	for name, s := range map[string]string{
		"empty":      "",
		"short":      good[1:],
		"long":       good + "0",
		"upper case": strings.Repeat("0A", 32),
		"no hex":     "g" + good[1:],
		"a prefix":   "0x" + good[2:],
	} {
		t.Run(name, func(t *testing.T) {
			h, err := ParseHash(s)
			if err == nil || h != (Hash{}) {
				t.Fatalf("ParseHash(%q) = %v, %v", s, h, err)
			}
			if s != "" && strings.Contains(err.Error(), s) {
				t.Errorf("the error shows it: %v", err)
			}
		})
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(strings.Repeat("0a", 32))
	f.Add(strings.Repeat("0A", 32))
	f.Add("zz")
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := ParseHash(s); err == nil && fmt.Sprintf("%x", h) != s {
			t.Errorf("%q was read as %x", s, h)
		}
	})
}

func TestNoPeppersNoDigests(t *testing.T) {
	var p Peppers
	if got := p.Digests(nil, []byte("x")); got != nil || p.Newest() != 0 {
		t.Errorf("the zero Peppers give %v, newest %d", got, p.Newest())
	}
}

func TestDigestsFromManyGoroutines(t *testing.T) {
	p := newPeppers(t, map[int][]byte{1: pepper('a')})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			token := strings.Repeat("x", i+1)
			for range 1000 {
				if d, _ := p.Sum([]byte(token)); d != want(pepper('a'), token) {
					t.Errorf("wrong digest of %d bytes", i+1)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestNewPeppersRefuses(t *testing.T) {
	for name, byVersion := range map[string]map[int][]byte{
		"none":           {},
		"four":           {1: pepper(1), 2: pepper(2), 3: pepper(3), 4: pepper(4)},
		"a short one":    {1: pepper(1)[1:]},
		"a long one":     {1: append(pepper(1), 0)},
		"a version of 0": {0: pepper(1)},
		"an empty one":   {1: nil},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewPeppers(byVersion); err == nil {
				t.Error("NewPeppers took it")
			}
		})
	}
	if _, err := NewPeppers(map[int][]byte{1: pepper(1), 2: pepper(2), 3: pepper(3)}); err != nil {
		t.Errorf("three are allowed: %v", err)
	}
}

func TestDigestText(t *testing.T) {
	d := want(pepper('a'), "x")
	if got := d.ID(); got != d.String()[:16] {
		t.Errorf("ID() = %s, want the first 16 digits of %s", got, d)
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back Digest
	if err := json.Unmarshal(text, &back); err != nil || back != d {
		t.Errorf("%s reads back as %v: %v", text, back, err)
	}
}

func TestParseDigestRefuses(t *testing.T) {
	good := want(pepper('a'), "x").String()
	for name, s := range map[string]string{
		"empty":      "",
		"short":      good[1:],
		"long":       good + "0",
		"upper case": strings.Repeat("AB", 32),
		"no hex":     "g" + good[1:],
	} {
		t.Run(name, func(t *testing.T) {
			if d, err := ParseDigest(s); err == nil || d != (Digest{}) {
				t.Errorf("ParseDigest(%q) = %v, %v", s, d, err)
			}
			if err := new(Digest).UnmarshalText([]byte(s)); err == nil {
				t.Error("UnmarshalText took it")
			}
		})
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add(strings.Repeat("0a", 32))
	f.Add(strings.Repeat("0A", 32))
	f.Add("zz")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDigest(s); err == nil && d.String() != s {
			t.Errorf("%q was read as %s", s, d)
		}
	})
}

func BenchmarkDigests(b *testing.B) {
	p := newPeppers(b, map[int][]byte{1: pepper('a')})
	token := []byte("sk_" + strings.Repeat("0", 48))
	var room [MaxPeppers]Digest
	b.ReportAllocs()
	for b.Loop() {
		p.Digests(room[:0], token)
	}
}
