package authz

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unsafe"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"keygate.dev/keygate/pkg/apikey"
)

// Environment of the process whose memory is searched.
const (
	// childDir makes the test binary that process; the directory has TLS files, or none.
	childDir = "KEYGATE_AUTHZ_CHILD_DIR"
	// childKeeps is the number of the token that it keeps on purpose; "": none.
	childKeeps = "KEYGATE_AUTHZ_CHILD_KEEPS"
)

func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(childDir); ok {
		if err := serveChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// everyKey takes every token for a key, so that the process knows no token but
// from requests.
type everyKey struct {
	peppers *apikey.Peppers
	mu      sync.Mutex
	calls   int
	keep    int
	kept    string
}

func (k *everyKey) Digests(dst []apikey.Digest, token []byte) []apikey.Digest {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.calls++; k.calls == k.keep {
		k.kept = string(token)
	}
	return k.peppers.Digests(dst, token)
}

func (k *everyKey) Lookup(_ context.Context, d apikey.Digest) (*apikey.Record, error) {
	r := activeRecord()
	r.Digest = d
	return r, nil
}

// serveChild serves until its standard input ends. Its first line says where.
func serveChild(dir string) error {
	f := newFixtureWith(&testing.B{}, inQueries)
	keep, err := strconv.Atoi(os.Getenv(childKeeps))
	if err != nil {
		keep = -1
	}
	keys := &everyKey{peppers: f.keys.peppers, keep: keep}
	f.Keys = keys
	files := filesIn(dir)
	if _, err := os.Stat(files.Cert); err != nil {
		files = TLSFiles{}
	}
	server, err := NewServer(ServerOptions{Decider: f.Decider, TLS: files, Decisions: LogAll, Log: discard(), Registerer: newTestRegistry()})
	if err != nil {
		return err
	}
	lis, err := Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is the message
		stop()
	}()
	fmt.Println(lis.Addr())
	defer func() { fmt.Fprint(io.Discard, keys.kept) }() // kept is alive until here
	return server.Serve(ctx, lis)
}

// How many tokens are sent, and how many of them must be gone.
const (
	tokensSent = 1000
	tokensGone = 900
)

// nthToken is a token that can be made anew anywhere.
func nthToken(n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "token %d of the memory test", n))
	return "sk_" + hex.EncodeToString(sum[:])[:48]
}

// pieceLength is the length of the parts of tokens that are searched for.
const pieceLength = 16

// pieces maps each third of a token's secret → the token's number.
func pieces() map[[pieceLength]byte]int {
	m := map[[pieceLength]byte]int{}
	for n := range tokensGone {
		secret := nthToken(n)[3:]
		for at := 0; at < len(secret); at += pieceLength {
			m[[pieceLength]byte([]byte(secret[at:]))] = n
		}
	}
	return m
}

// TestMemoryHoldsNoTokens: after 1,000 requests with 1,000 tokens, over several
// connections and of all sizes, allowed and denied, no writable memory of the
// process holds as much as a third of one of the first 900. What is left out are vector
// registers that were stored when a thread was last interrupted in the very moment of
// a copy: by the kernel in the signal's frame, and by the runtime in memory of its own
// (runtime/preempt_xreg.go, Go 1.26). Without preemption there are no such signals.
func TestMemoryHoldsNoTokens(t *testing.T) {
	for name, tc := range map[string]struct {
		tls  bool
		keep int
		want []int
	}{
		"plaintext": {want: []int{}},
		"TLS":       {tls: true, want: []int{}},
		// A token that is kept is found: the search sees what is there.
		"one that is kept": {keep: 5, want: []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, creds := t.TempDir(), insecure.NewCredentials()
			if tc.tls {
				creds = issueTLS(t, dir)
			}
			pid, address := startChild(t, dir, tc.keep)
			sendTokens(t, address, creds)
			found := searchMemory(t, pid, pieces())
			if tc.keep > 0 && len(found) == 1 {
				found = []int{0} // which one came fifth is chance
			}
			if !slices.Equal(found, tc.want) {
				t.Errorf("%d tokens are found: %v", len(found), found)
			}
		})
	}
}

// issueTLS writes the child's TLS files and returns credentials that trust them.
func issueTLS(t *testing.T, dir string) credentials.TransportCredentials {
	files := filesIn(dir)
	ca := newAuthority(t, "ca")
	ca.issue(t, "child", files)
	write(t, files.ClientCA, ca.pem)
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	return credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "keygate", Certificates: []tls.Certificate{pair}})
}

// startChild runs the child until the test ends.
func startChild(t *testing.T, dir string, keep int) (pid int, address string) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, "GODEBUG=asyncpreemptoff=1")
	if keep > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", childKeeps, keep))
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it may have been killed by the end of the test's context
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, strings.TrimSpace(line)
}

// sendTokens sends the tokens, most of them at the same time and the last ones in
// turn over all connections.
func sendTokens(t *testing.T, address string, creds credentials.TransportCredentials) {
	var clients []authv3.AuthorizationClient
	for range 3 {
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(creds))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
		clients = append(clients, authv3.NewAuthorizationClient(conn))
	}
	send := func(n int) {
		out, err := clients[n%len(clients)].Check(t.Context(), memoryRequest(n))
		if err != nil {
			t.Error(err)
		} else if allowed := n%7 != 0; (out.GetOkResponse() != nil) != allowed {
			t.Errorf("token %d: %v", n, out)
		}
	}
	var wg sync.WaitGroup
	const atOnce = 8
	for first := range atOnce {
		wg.Go(func() {
			for n := first; n < tokensGone; n += atOnce {
				send(n)
			}
		})
	}
	wg.Wait()
	for n := tokensGone; n < tokensSent; n++ {
		send(n)
	}
}

// memoryRequest is the request with the n-th token: of a size that fits a small
// buffer, a pooled one or several frames; each fifth with the key in its query, of
// which each second percent-encoded; each seventh with two keys.
func memoryRequest(n int) *authv3.CheckRequest {
	value := "Bearer " + nthToken(n)
	r := bare("GET", "/v1/stepsies", Field{"authorization", value},
		Field{"x-padding", strings.Repeat("p", []int{0, 1500, 40_000}[n%3])})
	switch n % 10 {
	case 1:
		r.Path, r.Header = "/v1/stepsies?page=1&api_key="+nthToken(n)+"&a", r.Header[1:]
	case 6:
		r.Path, r.Header = "/v1/stepsies?page=1&api_key=%73"+nthToken(n)[1:]+"&a", r.Header[1:]
	}
	if n%7 == 0 {
		r.Header = append(r.Header, Field{"authorization", value})
	}
	return envoyRequest(r, n%2 == 0)
}

// searchMemory returns the numbers of the tokens of which a piece is in writable
// memory of a process.
func searchMemory(t *testing.T, pid int, pieces map[[pieceLength]byte]int) []int {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = memory.Close() }()
	found, total := map[int]bool{}, 0
	for line := range strings.Lines(string(maps)) {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		// The race detector maps more than any machine has, with no contents in it.
		if !strings.HasPrefix(mode, "rw") || to-from > 1<<32 {
			continue
		}
		total += searchRange(memory, int64(from), int64(to), pieces, found)
	}
	if total < 4<<20 {
		t.Errorf("only %d bytes of memory were searched", total)
	}
	out := []int{}
	for n := range found {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// searchRange searches one mapping and returns how many bytes of it it could read.
func searchRange(memory *os.File, from, to int64, pieces map[[pieceLength]byte]int, found map[int]bool) int {
	const step = 1 << 20
	total := 0
	const overlap = pieceLength - 1
	window := make([]byte, step+overlap)
	empty := make([]byte, step+overlap)
	for at := from; at < to; at += step {
		n, err := memory.ReadAt(window[:min(int64(len(window)), to-at)], at)
		if err != nil && err != io.EOF && n == 0 {
			continue // guard pages and the kernel's own
		}
		total += n
		if bytes.Equal(window[:n], empty[:n]) {
			continue
		}
		for i := 0; i+pieceLength <= n; i++ {
			if !isHex(window[i]) || !isHex(window[i+pieceLength-1]) {
				continue
			}
			if number, ok := pieces[[pieceLength]byte(window[i:])]; ok {
				found[number] = true
			}
		}
	}
	return total
}

// isHex reports whether c is a lower-case hex digit.
func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

// TestBurnStack: what a function left on the stack is there until it is burned, and
// computing digests burns it.
func TestBurnStack(t *testing.T) {
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = memory.Close() }()
	d, r := &Decider{Keys: litteringKeys{}}, &Request{}
	done := make(chan [3]int)
	go func() { // a stack that nothing else has used
		below := make([]byte, burnSize)
		done <- [3]int{
			leftBehind(memory, below, litter),
			leftBehind(memory, below, func() { litter(); burnStack() }),
			leftBehind(memory, below, func() { d.digest(r, nil) }),
		}
	}()
	if got := <-done; got[0] <= 0 || got[1] != 0 || got[2] != 0 {
		t.Errorf("%d traces are left, %d after burning, %d by digests; want some, none and none", got[0], got[1], got[2])
	}
}

// litteringKeys leave traces of the tokens they see.
type litteringKeys struct{ Keys }

func (litteringKeys) Digests(dst []apikey.Digest, _ []byte) []apikey.Digest {
	litter()
	return dst
}

// trace is what litter leaves.
const trace = 0xa5

// litter leaves traces on the stack, below its caller.
//
//go:noinline
func litter() {
	var room [burnSize - 512]byte
	for i := range room {
		room[i] = trace
	}
	runtime.KeepAlive(&room)
}

// leftBehind counts the traces that a step leaves on the stack. below is room for
// the stack below this function.
//
//go:noinline
func leftBehind(memory *os.File, below []byte, step func()) int {
	here := 0
	burnStack() // grows the stack
	step()
	at := int64(uintptr(unsafe.Pointer(&here))) - int64(len(below))
	if _, err := memory.ReadAt(below, at); err != nil {
		return -1
	}
	return bytes.Count(below, bytes.Repeat([]byte{trace}, 64))
}
