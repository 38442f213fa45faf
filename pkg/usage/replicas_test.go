package usage

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/test/apiserver"
)

// fromEnvironment is a number from the environment: a soak runs with more.
func fromEnvironment(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: want a number", name, text)
	}
	return n
}

// TestReplicas: three replicas write a thousand APIKeys, each of which two of them
// saw, with another token each. No second has more writes than there may be, no time
// goes back, and in the end every time is right. A soak is
//
//	USAGE_KEYS=100000 USAGE_RATE=100 go test ./pkg/usage -run TestReplicas -timeout 3h -v
func TestReplicas(t *testing.T) {
	c := newCluster(t, apiserver.StartOwn(t))
	c.fenced()
	keys, rate := fromEnvironment(t, "USAGE_KEYS", 1000), fromEnvironment(t, "USAGE_RATE", 150)
	refs := c.keys(keys)
	stopWatching := c.watchForward()
	var mu sync.Mutex
	var begun []time.Time
	start := time.Now()
	var replicas [3]*replica
	for i := range replicas {
		replicas[i] = c.replica(fmt.Sprint("replica-", i), rate, &begun, &mu)
	}
	// Of some APIKeys the earlier use is written last, of others the later one.
	base := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(number, token int) time.Time { return base.Add(time.Duration(number*7%60+token) * time.Minute) }
	for i, ref := range refs {
		for _, token := range []int{i % 3, (i + 1) % 3} {
			replicas[token].used(ref, i, token, at(i, token))
		}
	}
	c.eventually(time.Hour, func() string {
		left := int64(0)
		for _, r := range replicas {
			left += r.pending.Load()
		}
		if left > 0 {
			return fmt.Sprintf("%d are pending", left)
		}
		return ""
	})
	took := time.Since(start)
	mu.Lock()
	most, writes := busiest(begun), len(begun)
	mu.Unlock()
	t.Logf("%d writes for %d APIKeys in %s: %.1f a second, %d in the busiest, of %d", writes, keys, took.Round(time.Second), float64(writes)/took.Seconds(), most, rate)
	if most > rate {
		t.Errorf("%d writes began within a second, there may be %d", most, rate)
	}
	if back := stopWatching(); len(back) > 0 {
		t.Errorf("%d went back: %s", len(back), back[0])
	}
	c.checkTimes(refs, at)
}

// checkTimes looks at every APIKey.
func (c *cluster) checkTimes(refs []apikey.Ref, at func(number, token int) time.Time) {
	c.Helper()
	list := &v1alpha1.APIKeyList{}
	if err := c.admin.List(c.Context(), list, client.InNamespace(c.namespace)); err != nil {
		c.Fatal(err)
	}
	byName := map[string]*v1alpha1.APIKey{}
	for i := range list.Items {
		byName[list.Items[i].Name] = &list.Items[i]
	}
	wrong := 0
	for i, ref := range refs {
		want, last := map[string]string{}, time.Time{}
		for _, token := range []int{i % 3, (i + 1) % 3} {
			minute := at(i, token).Truncate(time.Minute)
			want[fmt.Sprintf("%016x", idOf(i, token))] = minute.Format(time.RFC3339)
			if minute.After(last) {
				last = minute
			}
		}
		got, status := map[string]string{}, byName[ref.Name].Status
		for id, time := range status.Usage {
			got[id] = time.UTC().Format("2006-01-02T15:04:05Z")
		}
		if diff := cmp.Diff(want, got); diff != "" || !status.LastUsedAt.Time.Equal(last) || status.Hint != "sk_" {
			if wrong++; wrong <= 3 {
				c.Errorf("%s: last %v, want %v; %s", ref.Name, status.LastUsedAt, last, diff)
			}
		}
	}
	if wrong > 0 {
		c.Errorf("%d of %d are wrong", wrong, len(refs))
	}
}

// watchForward watches APIKeys until the returned function is called, which says which
// times went back.
func (c *cluster) watchForward() (stop func() []string) {
	c.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	watching, err := c.admin.Watch(ctx, &v1alpha1.APIKeyList{}, client.InNamespace(c.namespace))
	if err != nil {
		cancel()
		c.Fatal(err)
	}
	back := make(chan []string, 1)
	go func() {
		var found []string
		last := map[string]v1alpha1.APIKeyStatus{}
		for event := range watching.ResultChan() {
			key, ok := event.Object.(*v1alpha1.APIKey)
			if !ok || event.Type != watch.Modified {
				continue
			}
			if forward(last[key.Name], key.Status) {
				last[key.Name] = key.Status
			} else {
				found = append(found, key.Name)
			}
		}
		back <- found
	}()
	return func() []string {
		cancel()
		watching.Stop()
		return <-back
	}
}

// forward reports whether no time of a status is before that of an older one.
func forward(before, after v1alpha1.APIKeyStatus) bool {
	if before.LastUsedAt != nil && (after.LastUsedAt == nil || after.LastUsedAt.Before(before.LastUsedAt)) {
		return false
	}
	for id, old := range before.Usage {
		if now, kept := after.Usage[id]; !kept || now.Before(&old) {
			return false
		}
	}
	return true
}
