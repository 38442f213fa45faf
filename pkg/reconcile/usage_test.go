package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// looks counts how often each APIKey was looked at.
type looks struct {
	client.Client
	mu sync.Mutex
	// of maps APIKey → times.
	of map[client.ObjectKey]int
}

func (l *looks) Get(ctx context.Context, name client.ObjectKey, o client.Object, options ...client.GetOption) error {
	if _, isKey := o.(*v1alpha1.APIKey); isKey {
		l.mu.Lock()
		l.of[name]++
		l.mu.Unlock()
	}
	return l.Client.Get(ctx, name, o, options...)
}

func (l *looks) at(key *v1alpha1.APIKey) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[client.ObjectKeyFromObject(key)]
}

// TestUsageIsIgnored: that a key was used makes nobody look at it, and stays when
// somebody does.
func TestUsageIsIgnored(t *testing.T) {
	c, seen := newCluster(t), &looks{of: map[client.ObjectKey]int{}}
	c.start(func(o *Options) {
		o.wrap = func(inner client.Client) client.Client { seen.Client = inner; return seen }
	})
	key, other := c.issued("used"), c.issued("other")
	id := c.record(key).Digest.ID()
	// A watch tells of changes in their order: what was done before this is known after.
	settle := func() {
		t.Helper()
		for range 2 {
			before := seen.at(other)
			c.poke(other)
			c.eventually(func() error {
				if seen.at(other) == before {
					return errors.New("the other APIKey was not looked at")
				}
				return nil
			})
		}
	}
	settle()
	before := seen.at(key)
	for minute := range 5 {
		must(t, c.admin.Status().Patch(t.Context(), key, mergePatch(fmt.Sprintf(`{"status":{"lastUsedAt":"2026-01-02T03:0%[1]d:00Z","usage":{"%[2]s":"2026-01-02T03:0%[1]d:00Z"}}}`, minute, id))))
	}
	settle()
	if looked := seen.at(key) - before; looked != 0 {
		t.Errorf("looked at %d times for nothing but its use", looked)
	}
	must(t, c.admin.Status().Patch(t.Context(), key, mergePatch(`{"status":{"lastUsedAt":"2026-01-02T03:05:00Z","hint":"forged","usage":{"0123456789abcdef":"2026-01-02T03:05:00Z"}}}`)))
	at := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC).Local())
	c.eventually(func() error {
		if err := c.get(key); err != nil {
			return err
		}
		if diff := cmp.Diff(map[string]metav1.Time{id: at}, key.Status.Usage); diff != "" || key.Status.Hint == "forged" {
			return fmt.Errorf("hint %s, usage %s", key.Status.Hint, diff)
		}
		return nil
	})
	if got := key.Status.LastUsedAt; got == nil || !got.Equal(&metav1.Time{Time: at.Add(time.Minute)}) {
		t.Errorf("last used at %v", got)
	}
}

// TestUnlessUsage: every other change is looked at.
func TestUnlessUsage(t *testing.T) {
	now := metav1.Now()
	for name, test := range map[string]struct {
		change func(*v1alpha1.APIKey)
		want   bool
	}{
		"last use":     {func(k *v1alpha1.APIKey) { k.Status.LastUsedAt = &now }, false},
		"usage":        {func(k *v1alpha1.APIKey) { k.Status.Usage = map[string]metav1.Time{"a": now} }, false},
		"erased usage": {func(k *v1alpha1.APIKey) { k.Status.Usage = nil }, false},
		"both, forged condition": {func(k *v1alpha1.APIKey) {
			k.Status.LastUsedAt, k.Status.Conditions = &now, []metav1.Condition{{Type: "Ready"}}
		}, true},
		"a forged hint":    {func(k *v1alpha1.APIKey) { k.Status.Hint = "x" }, true},
		"an erased status": {func(k *v1alpha1.APIKey) { k.Status = v1alpha1.APIKeyStatus{} }, true},
		"spec":             {func(k *v1alpha1.APIKey) { k.Spec.State = v1alpha1.StateRevoked }, true},
		"a label":          {func(k *v1alpha1.APIKey) { k.Labels = map[string]string{"a": "b"} }, true},
		"an annotation":    {func(k *v1alpha1.APIKey) { k.Annotations = map[string]string{"a": "b"} }, true},
		"a finalizer":      {func(k *v1alpha1.APIKey) { k.Finalizers = []string{"a/b"} }, true},
		"deletion":         {func(k *v1alpha1.APIKey) { k.DeletionTimestamp = &now }, true},
		"another uid":      {func(k *v1alpha1.APIKey) { k.UID = "other" }, true},
		"nothing at all":   {func(k *v1alpha1.APIKey) { k.ResourceVersion = "1" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			before := aKey()
			before.ResourceVersion = "1"
			before.Status = v1alpha1.APIKeyStatus{Hint: "sk_", Usage: map[string]metav1.Time{"b": now}}
			after := before.DeepCopy()
			after.ResourceVersion = "2"
			test.change(after)
			if got := unlessUsage.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != test.want {
				t.Errorf("looked at: %v", got)
			}
		})
	}
}

// TestUsageOf: a token's usage goes with its last record.
func TestUsageOf(t *testing.T) {
	first, second := aRecord(1), aRecord(2)
	usage := map[string]metav1.Time{first.Digest.ID(): metav1.Now(), "0123456789abcdef": metav1.Now()}
	got := usageOf(usage, []*apikey.Record{first, second})
	if _, kept := got[first.Digest.ID()]; len(got) != 1 || !kept || len(usage) != 2 {
		t.Errorf("got %v of %v", got, usage)
	}
	if got := usageOf(nil, []*apikey.Record{first}); got != nil {
		t.Errorf("got %v of nothing", got)
	}
}
