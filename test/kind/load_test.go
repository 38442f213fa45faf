//go:build kind

package kind

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"keygate.dev/keygate/test/rig"
)

const (
	// rate is how many requests begin in a second.
	rate = 200
	// revokedEvery: each request of that number has the revoked key.
	revokedEvery = 5
	// inFlight bounds how many are under way.
	inFlight = 200
	// apart is the time between two failures that are not one disturbance.
	apart = time.Second
)

// load is a steady stream of requests through the gateway, some with a valid key and some
// with a revoked one, and what came of them.
type load struct {
	client         *http.Client
	url, host      string
	valid, revoked string

	mu sync.Mutex
	// requests that were answered; of them failed: not with the right status; wrong: let
	// in with the revoked key.
	requests, failed, wrong int
	// said counts what failures had to say.
	said map[string]int
	// from and to bound the disturbance that goes on, longest is that of the longest.
	from, to time.Time
	longest  time.Duration
}

// newLoad makes a load on a path of the table's API.
func newLoad(gateway, host, path, valid, revoked string) *load {
	return &load{
		client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: inFlight}},
		url:    gateway + path, host: host, valid: valid, revoked: revoked, said: map[string]int{},
	}
}

// during sends requests while a fault is brought about, and for some time before and
// after it.
func (l *load) during(t *testing.T, fault func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var sending sync.WaitGroup
	sending.Go(func() { l.send(ctx) })
	defer func() {
		stop()
		sending.Wait()
	}()
	l.await(t, 2*rate)
	fault()
	l.await(t, 5*rate)
}

// await waits until so many more requests were answered.
func (l *load) await(t *testing.T, more int) {
	t.Helper()
	begin := l.count()
	rig.Eventually(t, func() string {
		if n := l.count() - begin; n < more {
			return fmt.Sprintf("only %d of %d requests were answered", n, more)
		}
		return ""
	})
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.requests
}

// send sends requests until ctx ends, at their rate however long answers take.
func (l *load) send(ctx context.Context) {
	var open sync.WaitGroup
	defer open.Wait()
	slots := make(chan struct{}, inFlight)
	begin := time.Now()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(begin.Add(time.Duration(n) * time.Second / rate))):
		}
		slots <- struct{}{}
		open.Go(func() {
			l.ask(n%revokedEvery == 0)
			<-slots
		})
	}
}

// ask sends one request, which no fault's end cuts short.
func (l *load) ask(revoked bool) {
	token, want := l.valid, http.StatusOK
	if revoked {
		token, want = l.revoked, http.StatusUnauthorized
	}
	begin := time.Now()
	status, err := l.do(token)
	l.note(begin, status, want, err)
}

func (l *load) do(token string) (int, error) {
	req, err := http.NewRequest(http.MethodGet, l.url, nil)
	if err != nil {
		return 0, err
	}
	req.Host = l.host
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// note counts an answer.
func (l *load) note(begin time.Time, status, want int, err error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests++
	if want != http.StatusOK && status/100 == 2 {
		l.wrong++
	}
	if err == nil && status == want {
		return
	}
	l.failed++
	said := fmt.Sprintf("%d", status)
	if err != nil {
		said = err.Error()[strings.LastIndex(err.Error(), ": ")+1:]
	}
	l.said[said]++
	if begin.Sub(l.to) > apart {
		l.from = begin
	}
	l.to = now
	l.longest = max(l.longest, l.to.Sub(l.from))
}

// failures says what failures had to say.
func (l *load) failures() string {
	var list []string
	for _, said := range slices.Sorted(maps.Keys(l.said)) {
		list = append(list, fmt.Sprintf("%d × %s", l.said[said], said))
	}
	return strings.Join(list, ", ")
}
