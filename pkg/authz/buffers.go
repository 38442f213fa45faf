package authz

import (
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
	c.r += n
	return n, nil
}

// wipingConn is a connection below TLS. It clears what is left of the buffer that
// it reads into, in which crypto/tls decrypts in place: io.Reader allows to use all
// of it "as scratch space". So the record buffer holds what was received last and
// nothing older.
type wipingConn struct{ net.Conn }

// Read implements [net.Conn].
func (c wipingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	clear(p[max(n, 0):])
	return n, err
}

// clearingCredentials puts the connections above around those of other
// credentials.
type clearingCredentials struct {
	credentials.TransportCredentials
}

// ServerHandshake implements [credentials.TransportCredentials].
func (c clearingCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(wipingConn{raw})
	if err != nil {
		return nil, nil, err
	}
	return newClearingConn(conn), info, nil
}

// Clone implements [credentials.TransportCredentials].
func (c clearingCredentials) Clone() credentials.TransportCredentials {
	return clearingCredentials{c.TransportCredentials.Clone()}
}
