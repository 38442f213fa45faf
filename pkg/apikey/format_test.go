package apikey

import (
	"math"
	"strings"
	"testing"
)

func TestFormatValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		format Format
		ok     bool
	}{
		"hex, 128 bits":               {Format{"sk_", Hex, 32}, true},
		"hex, 124 bits":               {Format{"sk_", Hex, 31}, false},
		"base62, 130 bits":            {Format{"sk_", Base62, 22}, true},
		"base62, 125 bits":            {Format{"sk_", Base62, 21}, false},
		"no prefix":                   {Format{"", Hex, 48}, true},
		"longest":                     {Format{"sk_", Hex, MaxTokenLength - 3}, true},
		"too long":                    {Format{"sk_", Hex, MaxTokenLength - 2}, false},
		"prefix that is no token68":   {Format{"sk ", Hex, 48}, false},
		"alphabet of one's own":       {Format{"sk_", "ab", 300}, false},
		"zero":                        {Format{}, false},
		"prefix that looks like base": {Format{"a+/~", Base62, 40}, true},
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
	for name, format := range map[string]Format{
		"hex":    {"sk_", Hex, 48},
		"base62": {"sk_live_", Base62, 40},
		"long":   {"", Base62, 200},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := format.Mint()
			if err != nil {
				t.Fatal(err)
			}
			secret, found := strings.CutPrefix(string(token), format.Prefix)
			if !found || len(secret) != format.Length {
				t.Fatalf("%d characters after the prefix (found: %v), want %d", len(secret), found, format.Length)
			}
			if i := strings.IndexFunc(secret, func(r rune) bool { return !strings.ContainsRune(string(format.Alphabet), r) }); i >= 0 {
				t.Errorf("character %q at %d is not of the alphabet", secret[i], i)
			}
			if err := CheckToken(token); err != nil {
				t.Error(err)
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
	seen := map[string]bool{}
	for range 1000 {
		token, err := Format{"", Hex, 32}.Mint()
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(token)] {
			t.Fatal("the same token twice")
		}
		seen[string(token)] = true
	}
}

func TestHintLeavesEnoughUnseen(t *testing.T) {
	for name, tc := range map[string]struct {
		format Format
		want   string
	}{
		"room for four":            {Format{"sk_", Hex, 48}, "sk_xxxx…"},
		"four just fit":            {Format{"sk_", Hex, 36}, "sk_xxxx…"},
		"room for three":           {Format{"sk_", Hex, 35}, "sk_xxx…"},
		"none to spare":            {Format{"sk_", Hex, 32}, "sk_…"},
		"base62, none to spare":    {Format{"sk_live_", Base62, 22}, "sk_live_…"},
		"base62, room for one":     {Format{"sk_live_", Base62, 23}, "sk_live_x…"},
		"never more than the four": {Format{"", Base62, 100}, "xxxx…"},
	} {
		t.Run(name, func(t *testing.T) {
			token := tc.format.Prefix + strings.Repeat("x", tc.format.Length)
			if got := tc.format.Hint([]byte(token)); got != tc.want {
				t.Errorf("Hint() = %q, want %q", got, tc.want)
			}
		})
	}
}

func BenchmarkMint(b *testing.B) {
	for b.Loop() {
		if _, err := (Format{"sk_", Hex, 48}).Mint(); err != nil {
			b.Fatal(err)
		}
	}
}
