package authz

import (
	"bufio"
	"encoding/binary"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/mem"
)

// What a caller sends passes through four kinds of buffers on its way to a
// decision, none of which gRPC clears (grpc v1.85): the transport's read buffer,
// one buffer per DATA frame (its pool's if over 1 KiB, else plain memory), and,
// with TLS, the record buffer. Here each gets an owner that clears it, so that a
// dump of the heap shows no more than the last few requests.

// clearingPool is the buffer pool of the server: it clears what comes back.
type clearingPool struct{ mem.BufferPool }

// newClearingPool wraps the default pool.
func newClearingPool() clearingPool { return clearingPool{mem.DefaultBufferPool()} }

// Put implements [mem.BufferPool].
func (p clearingPool) Put(buf *[]byte) {
	clear((*buf)[:cap(*buf)])
	p.BufferPool.Put(buf)
}

// readBufferSize is the size of a connection's read buffer, in bytes: several
// requests as Envoy sends them.
const readBufferSize = 16 << 10

// clearingConn is a connection with a read buffer that is cleared as it is read.
// gRPC's own is switched off with [grpc.ReadBufferSize] 0.
type clearingConn struct {
	net.Conn
	buffer []byte
	// buffer[r:w] has been received and not been read.
	r, w int
}

// newClearingConn wraps conn.
func newClearingConn(conn net.Conn) *clearingConn {
	return &clearingConn{Conn: conn, buffer: make([]byte, readBufferSize)}
}

// Read implements [net.Conn]. Like any connection's, it is for one goroutine.
func (c *clearingConn) Read(p []byte) (int, error) {
	if c.r == c.w {
		if len(p) >= len(c.buffer) {
			return c.Conn.Read(p)
		}
		n, err := c.Conn.Read(c.buffer)
		c.r, c.w = 0, n
		if n == 0 {
			return 0, err
		}
		// An error that came with data comes again with the next read.
	}
	n := copy(p, c.buffer[c.r:c.w])
	clear(c.buffer[c.r : c.r+n])
	burnRegisters()
	c.r += n
	return n, nil
}

// recordHeader is the size of a TLS record's header, in bytes; the last two are the
// length of what follows (RFC 8446, section 5.1).
const recordHeader = 5

// wipingConn is a connection below TLS. crypto/tls reads records into one buffer,
// decrypts them in place there, and clears nothing (Conn.rawInput, Go 1.26). Here
// what is left of the buffer behind the bytes that were read is cleared with each
// read, as io.Reader allows ("scratch space"), and a record's header comes with a
// read of its own: that one clears the record before it, also where the buffer is
// then exchanged for a larger one. So the last record is there, and nothing older.
type wipingConn struct {
	net.Conn
	// in is what was received, still encrypted.
	in *bufio.Reader
	// left of the part that is being read, and the part after it; both 0 between
	// records.
	left, next int
}

// newWipingConn wraps conn.
func newWipingConn(conn net.Conn) *wipingConn {
	return &wipingConn{Conn: conn, in: bufio.NewReaderSize(conn, readBufferSize)}
}

// Read implements [net.Conn].
func (c *wipingConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		c.left, c.next = c.next, 0
	}
	if c.left == 0 {
		header, err := c.in.Peek(recordHeader)
		if err != nil {
			return 0, err
		}
		c.left, c.next = recordHeader, int(binary.BigEndian.Uint16(header[recordHeader-2:]))
	}
	n, err := c.in.Read(p[:min(len(p), c.left)])
	c.left -= n
	clear(p[n:])
	return n, err
}

// clearingCredentials puts the connections above around those of other
// credentials.
type clearingCredentials struct {
	credentials.TransportCredentials
}

// ServerHandshake implements [credentials.TransportCredentials].
func (c clearingCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c.Info().SecurityProtocol == "tls" {
		raw = newWipingConn(raw)
	}
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	return newClearingConn(conn), info, nil
}

// Clone implements [credentials.TransportCredentials].
func (c clearingCredentials) Clone() credentials.TransportCredentials {
	return clearingCredentials{c.TransportCredentials.Clone()}
}
