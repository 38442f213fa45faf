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

// record is a TLS record with a payload.
func record(payload string) []byte {
	return append([]byte{0x17, 3, 3, 0, byte(len(payload))}, payload...)
}

// TestWipingConn: a record comes in two reads, and behind what was read there is
// nothing.
func TestWipingConn(t *testing.T) {
	conn := newWipingConn(&scriptedConn{chunks: [][]byte{
		append(record("one"), record("twotwo")[:3]...), record("twotwo")[3:], record(""), record("three")[:7], record("three")[7:], {1, 2},
	}, err: io.EOF})
	next := func(room int, want string, wantErr error) {
		t.Helper()
		p := bytes.Repeat([]byte("o"), room)
		n, err := conn.Read(p)
		if string(p[:n]) != want || err != wantErr {
			t.Errorf("read %q, %v, want %q, %v", p[:n], err, want, wantErr)
		}
		if err == nil && len(bytes.Trim(p[n:], "\x00")) > 0 {
			t.Errorf("behind %q is %q", p[:n], p[n:])
		}
	}
	next(30, "\x17\x03\x03\x00\x03", nil)
	next(30, "one", nil)
	next(30, "\x17\x03\x03\x00\x06", nil)
	next(4, "twot", nil)
	next(30, "wo", nil)
	next(30, "\x17\x03\x03\x00\x00", nil)
	next(2, "\x17\x03", nil)
	next(30, "\x03\x00\x05", nil)
	next(30, "th", nil)
	next(30, "ree", nil)
	next(30, "", io.EOF) // a header that is cut
}

// TestWipingConnGivesUp: the error comes after what came before it.
func TestWipingConnGivesUp(t *testing.T) {
	conn := newWipingConn(&scriptedConn{chunks: [][]byte{record("three")[:7]}, err: io.EOF})
	got, err := io.ReadAll(conn)
	if want := string(record("three")[:7]); string(got) != want || err != nil {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
}
