package usage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"

	"keygate.dev/keygate/test/apiserver"
)

// TestAPI: what the API server says of a write, as the Writer is told.
func TestAPI(t *testing.T) {
	c := newCluster(t, apiserver.Start(t))
	c.fenced()
	api, err := NewAPI(c.server.Extauthz())
	if err != nil {
		t.Fatal(err)
	}
	owner, err := c.key(t.Context(), "key", 1)
	if err != nil {
		t.Fatal(err)
	}
	minute := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC).Unix() / 60
	put := func(keep bool, uses ...Use) error {
		return api.Put(t.Context(), Change{Owner: owner, Uses: uses, KeepLast: keep})
	}
	refused := func(err error) Refused {
		t.Helper()
		var r *Refused
		if !errors.As(err, &r) || r.Err == nil {
			t.Errorf("got %v", err)
			return Refused{}
		}
		return Refused{Last: r.Last, Usage: r.Usage}
	}
	first, second := idOf(1, 0), idOf(1, 1)
	if err := put(false, Use{first, minute}, Use{second, minute - 1}); err != nil {
		t.Fatal(err)
	}
	if err := put(false, Use{first, minute}); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if got := refused(put(false, Use{first, minute - 1})); got != (Refused{Last: true, Usage: true}) {
		t.Errorf("an older use: %+v", got)
	}
	if got := refused(put(false, Use{second, minute - 1})); got != (Refused{Last: true}) {
		t.Errorf("an older last use: %+v", got)
	}
	if got := refused(put(true, Use{first, minute - 1})); got != (Refused{Usage: true}) {
		t.Errorf("an older use alone: %+v", got)
	}
	if got := refused(put(false, Use{idOf(2, 0), minute})); got != (Refused{}) {
		t.Errorf("another APIKey's token: %+v", got)
	}
	if err := put(true, Use{idOf(1, 2), minute - 9}); err != nil {
		t.Errorf("a third token: %v", err)
	}
	key := c.get("key")
	if got := key.Status.Usage; len(got) != 3 || !key.Status.LastUsedAt.Time.Equal(time.Unix(minute*60, 0)) {
		t.Errorf("%v, %v", key.Status.LastUsedAt, got)
	}
	if !slices.ContainsFunc(key.ManagedFields, func(m metav1.ManagedFieldsEntry) bool {
		return m.Manager == fieldManager && m.Subresource == "status"
	}) {
		t.Errorf("written by %v", key.ManagedFields)
	}
	if err := c.admin.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := put(false, Use{first, minute + 1}); !errors.Is(err, ErrGone) {
		t.Errorf("of one that is gone: %v", err)
	}
	if _, err := c.key(t.Context(), "key", 3); err != nil {
		t.Fatal(err)
	}
	if got := refused(put(false, Use{first, minute + 1})); got != (Refused{}) || c.get("key").Status.LastUsedAt != nil {
		t.Errorf("of another one in its place: %+v", got)
	}
}

// TestAPIAsksOnce: an API server that has no time is not asked again at once: the
// attempts would not be counted.
func TestAPIAsksOnce(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusGatewayTimeout} {
		var asked atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(status)
		}))
		api, err := NewAPI(&rest.Config{Host: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		var refused *Refused
		err = api.Put(t.Context(), Change{Owner: recordOf("a", 1).Owner, Uses: []Use{{1, 1}}})
		if err == nil || errors.Is(err, ErrGone) || errors.As(err, &refused) {
			t.Errorf("%d: %v", status, err)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("%d: asked %d times", status, n)
		}
		server.Close()
	}
}

// TestOutage: what is noted while the API server is away is written when it is back.
func TestOutage(t *testing.T) {
	server := apiserver.StartOwn(t)
	c := newCluster(t, server)
	c.fenced()
	refs := c.keys(200)
	var mu sync.Mutex
	var begun []time.Time
	r := c.replica("replica", 100, &begun, &mu)
	now := time.Now()
	use := func(i int) { r.used(refs[i], i, 0, now) }
	for i := range 100 {
		use(i)
	}
	c.eventually(patience, func() string { // in the middle of it
		if left := r.pending.Load(); left > 80 {
			return fmt.Sprintf("%d are pending", left)
		}
		return ""
	})
	server.Stop()
	for i := 100; i < 200; i++ {
		use(i)
	}
	mu.Lock()
	before := len(begun)
	mu.Unlock()
	for away := time.After(8 * time.Second); away != nil; {
		select {
		case <-away:
			away = nil
		case <-time.After(100 * time.Millisecond):
			use(150)
		}
	}
	mu.Lock()
	if tried := len(begun) - before; tried > 10 {
		t.Errorf("%d attempts in an outage of 8 s", tried)
	}
	mu.Unlock()
	if left := r.pending.Load(); left < 100 {
		t.Errorf("only %d are pending", left)
	}
	server.Restart()
	c.eventually(2*time.Minute, func() string {
		if left := r.pending.Load(); left > 0 {
			return fmt.Sprintf("%d are pending", left)
		}
		return ""
	})
	for i, ref := range refs {
		if status := c.get(ref.Name).Status; status.LastUsedAt == nil || !status.LastUsedAt.Time.Equal(now.Truncate(time.Minute)) {
			t.Errorf("%d: last used at %v", i, status.LastUsedAt)
		}
	}
}

// TestHolderIsKilled: the turn of a replica that is gone without a word goes to
// another one, and not before its time.
func TestHolderIsKilled(t *testing.T) {
	c := newCluster(t, apiserver.StartOwn(t))
	c.fenced()
	refs := c.keys(1)
	client, err := kubernetes.NewForConfig(c.server.Extauthz())
	if err != nil {
		t.Fatal(err)
	}
	leases := client.CoordinationV1().Leases("keygate-system")
	lease, err := leases.Get(t.Context(), LeaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	holder, seconds, now := "killed", int32(3), metav1.NowMicro()
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds, lease.Spec.RenewTime, lease.Spec.AcquireTime = &holder, &seconds, &now, &now
	if _, err := leases.Update(t.Context(), lease, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var begun []time.Time
	start := time.Now()
	r := c.replica("survivor", 100, &begun, &mu)
	r.used(refs[0], 0, 0, start)
	c.eventually(patience, func() string {
		if r.pending.Load() > 0 {
			return "it is not written"
		}
		return ""
	})
	if took := time.Since(start); took < 3*time.Second {
		t.Errorf("the turn was taken after %s", took)
	}
	if c.get(refs[0].Name).Status.LastUsedAt == nil {
		t.Error("it was not written")
	}
	c.eventually(patience, func() string {
		lease, err := leases.Get(t.Context(), LeaseName, metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != "" {
			return fmt.Sprintf("the turn is not given up: %v, %v", lease, err)
		}
		return ""
	})
}

// TestTurnIsTaken: a replica that was stopped for long loses its turn before it
// writes again, and gives up nobody else's.
func TestTurnIsTaken(t *testing.T) {
	c := newCluster(t, apiserver.StartOwn(t))
	admin, err := kubernetes.NewForConfig(c.server.Config)
	if err != nil {
		t.Fatal(err)
	}
	leases := admin.CoordinationV1().Leases("keygate-system")
	client, err := kubernetes.NewForConfig(c.server.Extauthz())
	if err != nil {
		t.Fatal(err)
	}
	turns := NewLease(client, "keygate-system", "stopped", slog.New(slog.DiscardHandler))
	turns.duration, turns.deadline, turns.retry = 6*time.Second, 4*time.Second, 300*time.Millisecond
	var lost time.Duration
	if err := turns.Take(t.Context(), func(ctx context.Context) {
		err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
			lease, err := leases.Get(t.Context(), LeaseName, metav1.GetOptions{})
			if err != nil {
				return err
			}
			holder := "other"
			lease.Spec.HolderIdentity = &holder
			_, err = leases.Update(t.Context(), lease, metav1.UpdateOptions{})
			return err
		})
		if err != nil {
			t.Error(err)
		}
		start := time.Now()
		<-ctx.Done()
		lost = time.Since(start)
	}); err != nil {
		t.Fatal(err)
	}
	if lost > turns.duration {
		t.Errorf("the turn was lost after %s", lost)
	}
	if lease, err := leases.Get(t.Context(), LeaseName, metav1.GetOptions{}); err != nil || *lease.Spec.HolderIdentity != "other" {
		t.Errorf("the other's turn was given up: %v, %v", lease, err)
	}
}

// TestNoLease: that it is not there is told, once, with who makes it.
func TestNoLease(t *testing.T) {
	c := newCluster(t, apiserver.StartOwn(t))
	admin, err := kubernetes.NewForConfig(c.server.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.CoordinationV1().Leases("keygate-system").Delete(t.Context(), LeaseName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(c.server.Extauthz())
	if err != nil {
		t.Fatal(err)
	}
	log := &auditLog{}
	turns := NewLease(client, "keygate-system", "alone", slog.New(slog.NewJSONHandler(log, nil)))
	turns.retry = 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if err := turns.Take(ctx, func(context.Context) { t.Error("there was a turn") }); err != nil {
		t.Error(err)
	}
	text := log.all.String()
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, "the controller makes it") {
		t.Errorf("told: %s", text)
	}
}
