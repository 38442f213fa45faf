package apikey

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// Hash is SHA-256(token): what a key that was made elsewhere is registered by. Of a
// token with enough random bits it tells nothing. Hashes are only ever put through a
// pepper, never compared: how long a look-up takes tells nothing of them.
type Hash [sha256.Size]byte

// ParseHash reads a hash as an APIKey has it: exactly 64 lower-case hex digits. The
// error does not show the text.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != hex.EncodedLen(len(h)) {
		return h, fmt.Errorf("a SHA-256 has %d hex digits, not %d", hex.EncodedLen(len(h)), len(s))
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil || hex.EncodeToString(h[:]) != s {
		return Hash{}, errors.New("a SHA-256 is written in lower-case hex digits")
	}
	return h, nil
}
