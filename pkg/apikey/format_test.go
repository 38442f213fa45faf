package apikey

import (
	"math"
	"regexp"
	"strings"
	"testing"
)

func TestFormatValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		format Format
		ok     bool
	}{
		"hex, 128 bits":               {Format{"sk_", Hex, 0, 32}, true},
		"hex, 124 bits":               {Format{"sk_", Hex, 0, 31}, false},
		"base62, 130 bits":            {Format{"sk_", Base62, 0, 22}, true},
		"base62, 125 bits":            {Format{"sk_", Base62, 0, 21}, false},
		"no prefix":                   {Format{"", Hex, 0, 48}, true},
		"longest":                     {Format{"sk_", Hex, 0, MaxTokenLength - 3}, true},
		"too long":                    {Format{"sk_", Hex, 0, MaxTokenLength - 2}, false},
		"prefix that is no token68":   {Format{"sk ", Hex, 0, 48}, false},
		"alphabet of one's own":       {Format{"sk_", "ab", 0, 300}, false},
		"zero":                        {Format{}, false},
		"prefix that looks like base": {Format{"a+/~", Base62, 0, 40}, true},
		"an id":                       {Format{"sk_", Hex, 6, 32}, true},
		"an id below zero":            {Format{"sk_", Hex, -1, 32}, false},
		"an id is no part of secrets": {Format{"sk_", Hex, 100, 31}, false},
		"longest with an id":          {Format{"sk_", Hex, 6, MaxTokenLength - 10}, true},
		"too long with an id":         {Format{"sk_", Hex, 6, MaxTokenLength - 9}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := tc.format.Validate()
			if (err == nil) != tc.ok {
				t.Errorf("Validate() = %v, want ok %v", err, tc.ok)
			}
			if _, mintErr := tc.format.Mint(); (mintErr == nil) != tc.ok {
				t.Errorf("Mint() = %v, want ok %v", mintErr, tc.ok)
			}
		})
	}
}

func TestMintIsOfItsFormat(t *testing.T) {
	for name, tc := range map[string]struct {
		format Format
		want   string // a pattern
	}{
		"hex":              {Format{"sk_", Hex, 0, 48}, `^sk_[0-9a-f]{48}$`},
		"base62":           {Format{"sk_live_", Base62, 0, 40}, `^sk_live_[0-9A-Za-z]{40}$`},
		"long":             {Format{"", Base62, 0, 200}, `^[0-9A-Za-z]{200}$`},
		"hex with id":      {Format{"ssk_live_", Hex, 6, 32}, `^ssk_live_[0-9a-f]{6}_[0-9a-f]{32}$`},
		"base62 with id":   {Format{"ssk_test_", Base62, 32, 22}, `^ssk_test_[0-9A-Za-z]{32}_[0-9A-Za-z]{22}$`},
		"id and no prefix": {Format{"", Hex, 1, 32}, `^[0-9a-f]_[0-9a-f]{32}$`},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := tc.format.Mint()
			if err != nil {
				t.Fatal(err)
			}
			if !regexp.MustCompile(tc.want).Match(token) {
				t.Errorf("%q is not of the form %s", token, tc.want)
			}
			if err := CheckToken(token); err != nil {
				t.Error(err)
			}
			if cap(token) != len(token) {
				t.Errorf("the token of %d bytes is in %d: it may have been copied while it was made", len(token), cap(token))
			}
		})
	}
}

// TestMintIsUniform draws many characters and compares how often each came with
// what chance allows: a bias of a byte's modulo (25 % for some of base62) is far
// outside.
func TestMintIsUniform(t *testing.T) {
	for name, alphabet := range map[string]Alphabet{"hex": Hex, "base62": Base62} {
		t.Run(name, func(t *testing.T) {
			const n = 200_000
			counts := map[byte]int{}
			for _, c := range appendRandom(nil, alphabet, n) {
				counts[c]++
			}
			mean := float64(n) / float64(len(alphabet))
			for i := range len(alphabet) {
				if off := math.Abs(float64(counts[alphabet[i]]) - mean); off > 7*math.Sqrt(mean) {
					t.Errorf("%q came %d times, want %.0f ± %.0f", alphabet[i], counts[alphabet[i]], mean, 7*math.Sqrt(mean))
				}
			}
		})
	}
}

func TestMintNeverRepeats(t *testing.T) {
	for name, format := range map[string]Format{"plain": {"", Hex, 0, 32}, "with id": {"", Hex, 16, 32}} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]bool{}
			for range 1000 {
				token, err := format.Mint()
				if err != nil {
					t.Fatal(err)
				}
				secret := string(token[len(token)-format.Length:])
				id := string(token[:format.IDLength])
				if seen[secret] || id != "" && seen[id] {
					t.Fatal("the same twice")
				}
				seen[secret], seen[id] = true, true
			}
		})
	}
}

func TestHintLeavesEnoughUnseen(t *testing.T) {
	for name, tc := range map[string]struct {
		format Format
		want   string
	}{
		"room for four":            {Format{"sk_", Hex, 0, 48}, "sk_xxxx…"},
		"four just fit":            {Format{"sk_", Hex, 0, 36}, "sk_xxxx…"},
		"room for three":           {Format{"sk_", Hex, 0, 35}, "sk_xxx…"},
		"none to spare":            {Format{"sk_", Hex, 0, 32}, "sk_…"},
		"base62, none to spare":    {Format{"sk_live_", Base62, 0, 22}, "sk_live_…"},
		"base62, room for one":     {Format{"sk_live_", Base62, 0, 23}, "sk_live_x…"},
		"never more than the four": {Format{"", Base62, 0, 100}, "xxxx…"},
		"the id is public":         {Format{"ssk_live_", Hex, 6, 48}, "ssk_live_iiiiii_xxxx…"},
		"the id is no secret":      {Format{"ssk_live_", Hex, 6, 33}, "ssk_live_iiiiii_x…"},
	} {
		t.Run(name, func(t *testing.T) {
			token := tc.format.Prefix + strings.Repeat("x", tc.format.Length)
			if tc.format.IDLength > 0 {
				token = tc.format.Prefix + strings.Repeat("i", tc.format.IDLength) + "_" + strings.Repeat("x", tc.format.Length)
			}
			if got := tc.format.Hint([]byte(token)); got != tc.want {
				t.Errorf("Hint() = %q, want %q", got, tc.want)
			}
		})
	}
}

func BenchmarkMint(b *testing.B) {
	for b.Loop() {
		if _, err := (Format{"sk_", Hex, 0, 48}).Mint(); err != nil {
			b.Fatal(err)
		}
	}
}
