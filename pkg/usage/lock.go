package usage

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

var (
	// errNoLease is returned where the Lease does not exist: extauthz may make none.
	errNoLease = errors.New("there is no Lease " + LeaseName + " in the system namespace: the controller makes it when it runs")
	// errNotOurs is returned where a turn is to be given up that another replica has.
	errNotOurs = errors.New("the turn is another replica's")
)

// turnLock is the lock of one turn. It is for one goroutine.
type turnLock struct {
	*tellingLock
	// renewed is called when the turn was begun or prolonged.
	renewed func()
	// holder as it was last read.
	holder string
}

// Get implements [resourcelock.Interface].
func (l *turnLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.tellingLock.Get(ctx)
	if err == nil {
		l.holder = record.HolderIdentity
	}
	return record, raw, err
}

// Update implements [resourcelock.Interface]. client-go (v0.37) gives up what it last
// knew to be its own, even where the Lease that it has just read says otherwise.
func (l *turnLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if record.HolderIdentity == "" && l.holder != l.Identity() {
		return errNotOurs
	}
	err := l.tellingLock.Update(ctx, record)
	if err == nil {
		l.renewed()
	}
	return err
}

// tellingLock tells once that the Lease cannot be had, and once that it can again.
type tellingLock struct {
	resourcelock.Interface
	log     *slog.Logger
	failing atomic.Bool
}

// Get implements [resourcelock.Interface].
func (l *tellingLock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	record, raw, err := l.Interface.Get(ctx)
	return record, raw, l.tell(ctx, err)
}

// Create implements [resourcelock.Interface], and makes nothing.
func (l *tellingLock) Create(ctx context.Context, _ resourcelock.LeaderElectionRecord) error {
	return l.tell(ctx, errNoLease)
}

// Update implements [resourcelock.Interface].
func (l *tellingLock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.tell(ctx, l.Interface.Update(ctx, record))
}

// tell passes an error on. Another replica's win, and what the caller ended, is none;
// that there is no Lease is told where one is to be made.
func (l *tellingLock) tell(ctx context.Context, err error) error {
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err), ctx.Err() != nil:
	case err != nil && l.failing.CompareAndSwap(false, true):
		l.log.Warn("extauthz cannot take its turn to write when keys were last used; it is tried again", "error", err)
	case err == nil && l.failing.CompareAndSwap(true, false):
		l.log.Info("extauthz can take its turn again to write when keys were last used")
	}
	return err
}
