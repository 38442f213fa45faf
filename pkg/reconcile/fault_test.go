package reconcile

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// errKilled is what a killed controller gets of every write.
var errKilled = errors.New("killed")

// killer is a client whose controller is killed at its n-th write, before the
// write reaches the API server or after: none is made from then on, not even to
// clean up. Safe for concurrent use.
type killer struct {
	client.Client
	*killSwitch
}

type killSwitch struct {
	at    int
	after bool
	// resume, where it is set, makes a stall of the kill: the write is made once
	// resume is closed, and life goes on.
	resume chan struct{}

	mu     sync.Mutex
	writes int
	killed bool
	// busy writes are on their way; the last one ended at last.
	busy int
	last time.Time
}

// quiet is for how long a controller that is through makes no write. So does one that
// gets no turn on a busy machine: who waits for quiet also waits for what it leads to.
const quiet = 250 * time.Millisecond

// isQuiet reports whether the controller has been making no writes for a while.
func (k *killSwitch) isQuiet() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.busy == 0 && time.Since(k.last) > quiet
}

// wrap is for Options.wrap.
func (k *killSwitch) wrap(c client.Client) client.Client { return &killer{c, k} }

func (k *killSwitch) isKilled() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.killed
}

// write makes one write, unless the controller is dead by then. Writes are made
// one at a time, so that the n-th is one and the same for all that follow.
func (k *killSwitch) write(do func() error) error {
	k.mu.Lock()
	if k.killed && k.resume == nil {
		k.mu.Unlock()
		return errKilled
	}
	k.writes++
	k.last = time.Now()
	if k.writes != k.at {
		defer k.mu.Unlock()
		return do()
	}
	k.killed = true
	if k.resume != nil {
		return k.stall(do)
	}
	defer k.mu.Unlock()
	if k.after {
		return errors.Join(errKilled, do())
	}
	return errKilled
}

// stall makes a write late. It is called with the lock held, and releases it.
func (k *killSwitch) stall(do func() error) error {
	k.busy++
	k.mu.Unlock()
	<-k.resume
	err := do()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy--
	k.last = time.Now()
	return err
}

func (k *killer) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	return k.write(func() error { return k.Client.Create(ctx, o, opts...) })
}

func (k *killer) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	return k.write(func() error { return k.Client.Update(ctx, o, opts...) })
}

func (k *killer) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.PatchOption) error {
	return k.write(func() error { return k.Client.Patch(ctx, o, p, opts...) })
}

func (k *killer) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	return k.write(func() error { return k.Client.Delete(ctx, o, opts...) })
}

func (k *killer) Apply(ctx context.Context, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	return k.write(func() error { return k.Client.Apply(ctx, o, opts...) })
}

func (k *killer) Status() client.SubResourceWriter {
	return &statusKiller{k.Client.Status(), k.killSwitch}
}

type statusKiller struct {
	client.SubResourceWriter
	*killSwitch
}

func (k *statusKiller) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	return k.write(func() error { return k.SubResourceWriter.Patch(ctx, o, p, opts...) })
}
