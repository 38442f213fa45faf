// Package policy turns an APIKeyPolicy into something that requests are judged by:
// its routes, the closure of its scopes, its grants, and what denied callers are
// told.
//
// It defends against ambiguity. A path that two servers could read differently is
// refused before it is compared ([CheckPath]), of the rules for one path and method
// there is exactly one, and whatever is unknown, undeclared or left out denies.
// [Compile] refuses a policy with any doubt in it, whether or not the API server let
// it pass; everything that it returns is immutable, safe for concurrent use, and as
// far as possible made ahead, so that a request costs a few look-ups.
package policy
