package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"keygate.dev/keygate/api/v1alpha1"
)

// rotates asks for a rotation, waits until every extauthz knows of it, and returns the
// new token.
func (s *stack) rotates(t *testing.T, ns, name string, serial int64, rest string) string {
	t.Helper()
	s.patch(t, ns, name, fmt.Sprintf(`{"spec":{"rotation":{"serial":%d%s}}}`, serial, rest))
	s.wait(t, s.keys(ns), name, "Delivered", "True", "Delivered")
	if got := s.issued(t, ns, name)[0]; got.Serial != serial || got.State != "Active" {
		t.Fatalf("the newest token is %+v", got)
	}
	s.settle(t)
	return s.token(t, ns, name)
}

// issued are the tokens in the status of an APIKey, newest first.
func (s *stack) issued(t *testing.T, ns, name string) []v1alpha1.IssuedKey {
	t.Helper()
	u, err := s.keys(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	key := &v1alpha1.APIKey{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, key); err != nil {
		t.Fatal(err)
	}
	return key.Status.Keys
}

// TestRotationUnderLoad: callers switch from the old token to the new one whenever it
// suits them, and none of them notices.
func TestRotationUnderLoad(t *testing.T) {
	const callers, before, after = 20, 250, 250 // requests of each, at the least
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	first := s.key(t, ns, "loaded", "policyRef: {name: plain}\ndelivery: {retain: Keep}")
	at := func(token string) call { return call{host: host, path: "/any", token: token} }
	firstID := s.issued(t, ns, "loaded")[0].ID

	ctx, cancel := context.WithTimeout(t.Context(), 5*patience) // 10,000 requests
	defer cancel()
	var second atomic.Pointer[[2]string] // token and id, once it is there
	var requests, wrong atomic.Int64
	ask := func(token, id string) {
		requests.Add(1)
		if a, err := s.try(at(token)); err != nil || a.status != http.StatusOK || !bytes.Contains(a.body, []byte(id)) {
			wrong.Add(1)
			t.Errorf("key %s: %v, %s", id, err, a)
		}
	}
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for n := 0; (n < before || second.Load() == nil) && ctx.Err() == nil && wrong.Load() == 0; n++ {
				ask(first, firstID)
			}
			late := rand.IntN(before)
			for n := 0; n < late+after && ctx.Err() == nil && wrong.Load() == 0; n++ {
				if n < late {
					ask(first, firstID)
				} else {
					ask(second.Load()[0], second.Load()[1])
				}
			}
		})
	}
	eventually(t, func() string {
		if requests.Load() < callers*before/2 {
			return "the load does not get going"
		}
		return ""
	})
	token := s.rotates(t, ns, "loaded", 2, "")
	second.Store(&[2]string{token, s.issued(t, ns, "loaded")[0].ID})
	wg.Wait()
	if got := requests.Load(); got < callers*(before+after) || wrong.Load() > 0 {
		t.Fatalf("%d wrong answers of %d", wrong.Load(), got)
	}
	t.Logf("%d requests", requests.Load())

	s.patch(t, ns, "loaded", `{"spec":{"rotation":{"overlap":"0s"}}}`)
	s.becomes(t, at(first), http.StatusUnauthorized)
	s.do(t, at(token)).echo(t)
	s.patch(t, ns, "loaded", `{"spec":{"rotation":{"overlap":"24h"}}}`)
	s.wait(t, s.keys(ns), "loaded", "Ready", "True", "Active")
	s.settle(t)
	if a := s.do(t, at(first)); a.status != http.StatusUnauthorized {
		t.Errorf("the old token came back: %s", a)
	}
	if a, b := s.do(t, at(first)), s.do(t, at("pk_unknown")); a.status != b.status || a.reason(t) != b.reason(t) {
		t.Errorf("a rotated token and an unknown one are answered differently: %s, %s", a, b)
	}
}

// TestOverlapEndsByTheClock: nobody has to be there when an overlap ends.
func TestOverlapEndsByTheClock(t *testing.T) {
	s, host := shared, newHost()
	ns := s.namespace(t, nil)
	s.policy(t, ns, "plain", plainPolicy(host))
	first := s.key(t, ns, "short", "policyRef: {name: plain}\ndelivery: {retain: Keep}")
	at := func(token string) call { return call{host: host, path: "/any", token: token} }
	second := s.rotates(t, ns, "short", 2, `,"overlap":"6s"`)
	pid := s.pid(t, "CONTROLLER")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	goOn := sync.OnceFunc(func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	})
	defer goOn()
	old := s.issued(t, ns, "short")[1]
	if old.State != "Active" || old.ExpiresAt == nil || time.Now().After(old.ExpiresAt.Time) {
		t.Fatalf("the old token: %+v", old)
	}
	s.do(t, at(first)).echo(t)
	s.becomes(t, at(first), http.StatusUnauthorized)
	// The status is to the second.
	if late := time.Since(old.ExpiresAt.Time); late < 0 {
		t.Errorf("it ended %s before its time", -late)
	}
	s.do(t, at(second)).echo(t)
	if got := s.issued(t, ns, "short")[1]; got.State != "Active" {
		t.Errorf("the controller is at work: %+v", got)
	}
	goOn()
	eventually(t, func() string {
		if got := s.issued(t, ns, "short")[1]; got.State != "Rotated" {
			return fmt.Sprintf("the old token: %+v", got)
		}
		return ""
	})
	if a := s.do(t, at(first)); a.status != http.StatusUnauthorized {
		t.Errorf("the old token: %s", a)
	}
}
