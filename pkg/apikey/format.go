package apikey

import (
	"crypto/rand"
	"fmt"
	"math"
)

// Alphabet is the characters that a secret is drawn from, each as likely.
type Alphabet string

// The alphabets of secrets.
const (
	Hex    Alphabet = "0123456789abcdef"
	Base62 Alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// MinSecretBits is the least randomness of a minted secret that a caller can't
// see in a hint.
const MinSecretBits = 128

// maxHintChars is how many characters of a secret a hint shows at the most.
const maxHintChars = 4

// idEnd stands between the id of a token and its secret.
const idEnd = "_"

// Format is the shape of minted tokens: Prefix, then, if there is an IDLength, so
// many characters of Alphabet and an underscore, then Length characters of Alphabet.
type Format struct {
	// Prefix begins every token; token68 characters.
	Prefix string
	// Alphabet of the id and the secret.
	Alphabet Alphabet
	// IDLength is how many random characters of a token are public, to tell keys apart
	// at a glance; 0: none are. They count for nothing in the secret's strength.
	IDLength int
	// Length of the secret, in characters.
	Length int
}

// Validate returns an error that says what to change where tokens of this format
// would be too long, not token68, or hold less than [MinSecretBits].
func (f Format) Validate() error {
	if f.Alphabet != Hex && f.Alphabet != Base62 {
		return fmt.Errorf("unknown alphabet of %d characters", len(f.Alphabet))
	}
	if f.bits(f.Length) < MinSecretBits {
		return fmt.Errorf("a secret of %d characters has less than %d random bits", f.Length, MinSecretBits)
	}
	if f.IDLength < 0 {
		return fmt.Errorf("an id of %d characters is not possible", f.IDLength)
	}
	if n := f.publicLength() + f.Length; n > MaxTokenLength {
		return fmt.Errorf("a token of %d characters is longer than %d", n, MaxTokenLength)
	}
	for i := range len(f.Prefix) {
		if !isToken68(f.Prefix[i]) {
			return fmt.Errorf("the prefix %q has characters that no token may have", f.Prefix)
		}
	}
	return nil
}

// publicLength is how many characters of a token come before its secret.
func (f Format) publicLength() int {
	if f.IDLength == 0 {
		return len(f.Prefix)
	}
	return len(f.Prefix) + f.IDLength + len(idEnd)
}

// bits is the randomness of n characters.
func (f Format) bits(n int) float64 {
	return float64(n) * math.Log2(float64(len(f.Alphabet)))
}

// Mint draws a new token. The caller owns the bytes and should clear them after
// use. The error is that of [Format.Validate].
func (f Format) Mint() ([]byte, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	token := make([]byte, 0, f.publicLength()+f.Length)
	token = append(token, f.Prefix...)
	if f.IDLength > 0 {
		token = appendRandom(token, f.Alphabet, f.IDLength)
		token = append(token, idEnd...)
	}
	return appendRandom(token, f.Alphabet, f.Length), nil
}

// appendRandom appends n characters of alphabet, drawn without bias: bytes past
// the largest multiple of the alphabet's size are thrown away. crypto/rand never
// fails (Go 1.24).
func appendRandom(dst []byte, alphabet Alphabet, n int) []byte {
	limit := 256 - 256%len(alphabet)
	var pool [64]byte
	defer clear(pool[:])
	for n > 0 {
		rand.Read(pool[:])
		for _, b := range pool {
			if int(b) >= limit {
				continue
			}
			dst = append(dst, alphabet[int(b)%len(alphabet)])
			if n--; n == 0 {
				break
			}
		}
	}
	return dst
}

// Hint is the recognisable beginning of a token of this format: its prefix, its id
// if it has one, up to four characters of the secret, and an ellipsis. Of the secret
// it shows only characters that leave [MinSecretBits] unseen.
func (f Format) Hint(token []byte) string {
	shown := 0
	for shown < maxHintChars && f.bits(f.Length-shown-1) >= MinSecretBits {
		shown++
	}
	return string(token[:f.publicLength()+shown]) + "…"
}
