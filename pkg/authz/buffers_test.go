package authz

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// scriptedConn hands out chunks, one with each Read, and at last an error.
type scriptedConn struct {
	net.Conn
	chunks [][]byte
	err    error
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	if len(c.chunks) == 0 {
		return 0, c.err
	}
	n := copy(p, c.chunks[0])
	if c.chunks[0] = c.chunks[0][n:]; len(c.chunks[0]) == 0 {
		c.chunks = c.chunks[1:]
	}
	return n, nil
}

// TestClearingConn: what is read is what was received, in whatever portions, and
// what was read is gone.
func TestClearingConn(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	broken := errors.New("broken")
	for range 50 {
		var sent []byte
		script := &scriptedConn{err: broken}
		for range r.IntN(20) {
			chunk := bytes.Repeat([]byte{byte(1 + r.IntN(255))}, 1+r.IntN(readBufferSize*2))
			sent = append(sent, chunk...)
			script.chunks = append(script.chunks, chunk)
		}
		c := newClearingConn(script)
		var got []byte
		for {
			p := make([]byte, 1+r.IntN(readBufferSize+100))
			n, err := c.Read(p)
			got = append(got, p[:n]...)
			for i, b := range c.buffer {
				if b != 0 && (i < c.r || i >= c.w) {
					t.Fatalf("byte %d of the buffer is not cleared, [%d:%d) is unread", i, c.r, c.w)
				}
			}
			if err != nil {
				if err != broken {
					t.Fatal(err)
				}
				break
			}
		}
		if !bytes.Equal(got, sent) {
			t.Fatalf("%d bytes were read, and not as they were sent: %d", len(got), len(sent))
		}
	}
}

// TestClearingConnReadsLargeDirectly: what fits no buffer is not copied.
func TestClearingConnReadsLargeDirectly(t *testing.T) {
	c := newClearingConn(&scriptedConn{chunks: [][]byte{bytes.Repeat([]byte("x"), readBufferSize)}})
	if n, err := c.Read(make([]byte, readBufferSize)); n != readBufferSize || err != nil || c.w != 0 {
		t.Errorf("read %d, %v, through the buffer: %v", n, err, c.w != 0)
	}
}

func TestWipingConn(t *testing.T) {
	p := bytes.Repeat([]byte("old"), 10)
	conn := wipingConn{&scriptedConn{chunks: [][]byte{[]byte("new")}, err: io.EOF}}
	if n, err := conn.Read(p); n != 3 || err != nil || string(bytes.TrimRight(p, "\x00")) != "new" {
		t.Errorf("read %d, %v: %q", n, err, p)
	}
	if n, err := conn.Read(p); n != 0 || err != io.EOF || len(bytes.Trim(p, "\x00")) != 0 {
		t.Errorf("read %d, %v: %q", n, err, p)
	}
}
