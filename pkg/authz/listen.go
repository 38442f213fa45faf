package authz

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
)

// unixScheme begins the addresses of Unix sockets.
const unixScheme = "unix://"

// socketMode lets the socket's owner and group connect.
const socketMode = 0o660

// Listen opens "host:port", or a Unix socket "unix:///path". A socket that a
// process left behind is removed; one on which a process listens, and whatever is
// no socket, is an error.
func Listen(address string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, unixScheme)
	if !isUnix {
		return net.Listen("tcp", address)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	lis, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(fmt.Errorf("set the socket's mode: %w", err), lis.Close())
	}
	return lis, nil
}

// removeStale removes a socket on which nobody listens.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is no socket", path)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		return errors.Join(fmt.Errorf("another process listens on %s", path), conn.Close())
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove the socket left behind: %w", err)
	}
	return nil
}
