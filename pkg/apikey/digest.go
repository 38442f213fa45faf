package apikey

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"
)

// Digest is HMAC-SHA-256(pepper, SHA-256(token)): all that is ever stored of a
// token. SHA-256 comes first so that a key made elsewhere can be registered by its
// hash.
type Digest [sha256.Size]byte

// idLength is the length of a key id, in hex digits.
const idLength = 16

// ID is the public name of a key: the first 16 hex digits of its digest.
func (d Digest) ID() string { return hex.EncodeToString(d[:idLength/2]) }

// String is the digest in 64 lower-case hex digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads what [Digest.String] wrote: exactly 64 lower-case hex digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if len(s) != hex.EncodedLen(len(d)) {
		return d, fmt.Errorf("a digest has %d hex digits, not %d", hex.EncodedLen(len(d)), len(s))
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, errors.New("a digest is written in hex digits")
	}
	if d.String() != s {
		return Digest{}, errors.New("a digest is written in lower-case hex digits")
	}
	return d, nil
}

// MarshalText implements [encoding.TextMarshaler].
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]; see [ParseDigest].
func (d *Digest) UnmarshalText(text []byte) error {
	parsed, err := ParseDigest(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// PepperSize is the size of a pepper, in bytes.
const PepperSize = 32

// MaxPeppers is how many versions of the pepper may be live at once.
const MaxPeppers = 3

// Peppers are the live versions of the secret that digests are keyed with. The
// zero value has none and computes no digests. Safe for concurrent use.
type Peppers struct {
	// versions are the live ones' numbers, the newest first.
	versions []int
	// macs are pools of keyed hashes, in the order of versions.
	macs []*sync.Pool
}

// NewPeppers takes the live peppers by version: 1 to [MaxPeppers] of them, each
// [PepperSize] bytes and with a version above 0.
func NewPeppers(byVersion map[int][]byte) (*Peppers, error) {
	if len(byVersion) == 0 || len(byVersion) > MaxPeppers {
		return nil, fmt.Errorf("1 to %d peppers are needed, not %d", MaxPeppers, len(byVersion))
	}
	p := &Peppers{}
	for version, pepper := range byVersion {
		if version < 1 || len(pepper) != PepperSize {
			return nil, fmt.Errorf("pepper %d has %d bytes: %d are needed, and a version above 0", version, len(pepper), PepperSize)
		}
		p.versions = append(p.versions, version)
	}
	slices.SortFunc(p.versions, func(a, b int) int { return b - a })
	for _, version := range p.versions {
		key := slices.Clone(byVersion[version])
		p.macs = append(p.macs, &sync.Pool{New: func() any { return hmac.New(sha256.New, key) }})
	}
	return p, nil
}

// Newest is the version that new tokens are hashed with, 0 where there is none.
func (p *Peppers) Newest() int {
	if len(p.versions) == 0 {
		return 0
	}
	return p.versions[0]
}

// Registered returns the digests of the token with this hash under every live pepper,
// the newest first: those that [Peppers.Digests] finds for the token itself.
func (p *Peppers) Registered(h Hash) []Digest {
	digests := make([]Digest, len(p.macs))
	for i := range p.macs {
		digests[i] = p.keyed(i, (*[sha256.Size]byte)(&h))
	}
	return digests
}

// Sum is the digest of token under the newest pepper, with that pepper's version.
// It panics where there is no pepper: call it only on what [NewPeppers] returned.
func (p *Peppers) Sum(token []byte) (Digest, int) {
	sum := sha256.Sum256(token)
	defer clear(sum[:])
	return p.keyed(0, &sum), p.versions[0]
}

// Digests appends the digests of token under every live pepper to dst, the newest
// first.
func (p *Peppers) Digests(dst []Digest, token []byte) []Digest {
	sum := sha256.Sum256(token)
	defer clear(sum[:])
	for i := range p.macs {
		dst = append(dst, p.keyed(i, &sum))
	}
	return dst
}

// keyed is the digest of a token's SHA-256 under the pepper at position i.
func (p *Peppers) keyed(i int, sum *[sha256.Size]byte) (d Digest) {
	mac := p.macs[i].Get().(hash.Hash)
	mac.Reset()
	mac.Write(sum[:])
	mac.Sum(d[:0])
	p.macs[i].Put(mac)
	return d
}
