package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestUnfenced: a controller that nothing keeps from tenants' Secrets does not start.
func TestUnfenced(t *testing.T) {
	c := newCluster(t)
	options := Options{Config: c.server.Config, Log: slog.New(slog.DiscardHandler), fenceWithin: time.Second}
	if _, err := New(t.Context(), options); !errors.Is(err, errUnfenced) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want %v", err, errUnfenced)
	}
	options.Config, options.KeysNamespace = c.server.Controller(), c.namespace
	if _, err := New(t.Context(), options); err == nil || !strings.Contains(err.Error(), "keeps this controller out of the namespace "+c.namespace) {
		t.Errorf("another keys namespace: got %v", err)
	}
	list := &corev1.SecretList{}
	must(t, c.admin.List(t.Context(), list, client.InNamespace(systemNamespace)))
	if len(list.Items) > 0 {
		t.Errorf("%d Secrets were made", len(list.Items))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := awaitFence(ended, c.admin, keysNamespace, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// late is a client that the fence does not know at first.
type late struct {
	client.Client
	admin client.Client
	tries int
}

func (l *late) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	if l.tries--; l.tries >= 0 {
		return l.admin.Create(ctx, o, opts...)
	}
	return l.Client.Create(ctx, o, opts...)
}

// A fence that was just put up is waited for.
func TestFenceIsAwaited(t *testing.T) {
	c := newCluster(t)
	must(t, awaitFence(t.Context(), &late{c.as(c.server.Controller()), c.admin, 2}, keysNamespace, patience))
}
