// Package ratelimit counts what each key uses and says when it has used enough.
//
// A [Limit] is a number of requests per window. The window is fixed: it opens at
// the key's first request and lasts [Limit.Per], whatever follows. A caller who is
// turned away can therefore be told the very moment from which it is let in again,
// and a window is one number and one time, however many requests it counts. The
// price is that a caller may use up the end of one window and the beginning of the
// next: up to twice Requests within one Per, though never more than Requests in a
// window. Buckets and sliding windows smooth that, but either can't keep "100 an
// hour" to the letter or must remember every request.
//
// Several limits hold at once, and a request is let through only if each of them
// has room for its cost. Only then is it charged, to all of them; a request that is
// turned away costs nothing.
//
// There are two [Limiter]s. [Memory] counts what its own process lets through: of n
// replicas each allows Requests, n times as much in all, and a restart forgets.
// [Redis] counts for all replicas together and is exact, for one round trip a
// request.
//
// It defends the API behind it against a key that asks too much, itself against too
// many keys (memory is bounded), and its callers against a Redis that is slow or
// gone: a decision takes no longer than a fixed time, and ends in an error of which
// the caller makes what its policy says.
package ratelimit
