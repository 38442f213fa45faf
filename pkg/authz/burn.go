package authz

import "runtime"

// A token leaves traces where no buffer's owner can clear them: on the stack and in
// registers. Both end in memory, where a dump shows them long after: a stack when
// its goroutine is gone, registers whenever a signal (the scheduler's, every few
// milliseconds) stores them on a stack of its own.

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

// zeros are as many as the vector registers of amd64 hold. A slice, because a copy
// of fixed size would be compiled into something else than a call of memmove.
var zeros = make([]byte, 256)

// burnRegisters overwrites the vector registers, in which copying leaves what it
// copied: memmove of 129 to 256 bytes loads all sixteen of them (amd64; arm64 copies
// through others, which are soon used again).
//
//go:noinline
func burnRegisters() {
	var room [256]byte
	copy(room[:], zeros)
	runtime.KeepAlive(&room)
}
