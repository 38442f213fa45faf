// Package apikey is the key itself: how a token looks, how one is minted, the
// keyed digest that stands for it once it has been handed over, and the [Record]
// by which requests are judged.
//
// It defends against guessing (at least 128 random bits a caller never sees),
// against reading the store (a digest is useless without the pepper), and against
// timing (a token is only ever hashed, never compared). It needs nothing but the
// standard library.
package apikey
