package authz

import "runtime"

// burnSize is how much of the stack is cleared, in bytes: more than a digest's
// computation uses.
const burnSize = 4 << 10

// burnStack clears the stack below its caller, where functions that the caller
// called before left copies of what they worked on: SHA-256 keeps the last block
// of its input in its state.
//
//go:noinline
func burnStack() {
	var room [burnSize]byte
	clear(room[:])
	runtime.KeepAlive(&room)
}
