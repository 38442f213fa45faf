package authz

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func TestListenOnUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keygate.sock")
	leaveStale(t, path)
	lis, err := Listen("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != fs.ModeSocket|0o660 {
		t.Errorf("mode %v", got)
	}
	if second, err := Listen("unix://" + path); err == nil {
		t.Errorf("a second process listens too: %v", second.Close())
	}
	serveOn(t, lis, ServerOptions{Decider: newFixture(t).Decider, Log: discard()})
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	out, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), envoyRequest(request(), true))
	if err != nil || out.GetOkResponse() == nil {
		t.Errorf("got %v, %v", out, err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

// leaveStale leaves a socket behind as a process that was killed does.
func leaveStale(tb testing.TB, path string) {
	tb.Helper()
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		tb.Fatal(err)
	}
	lis.SetUnlinkOnClose(false)
	if err := lis.Close(); err != nil {
		tb.Fatal(err)
	}
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	write(t, file, []byte("precious"))
	for name, address := range map[string]string{
		"a file in its place":      "unix://" + file,
		"a directory in its place": "unix://" + dir,
		"no such directory":        "unix://" + filepath.Join(dir, "nowhere", "sock"),
		"below a file":             "unix://" + filepath.Join(file, "sock"),
		"no port":                  "127.0.0.1",
	} {
		t.Run(name, func(t *testing.T) {
			if lis, err := Listen(address); err == nil {
				t.Errorf("it listens: %v", lis.Close())
			}
		})
	}
	if got, err := os.ReadFile(file); string(got) != "precious" {
		t.Errorf("the file holds %q: %v", got, err)
	}
}
