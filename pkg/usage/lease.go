package usage

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// LeaseName is the Lease of the system namespace that replicas take turns by. The
// controller makes it.
const LeaseName = "keygate-extauthz-usage"

// Times of the Lease: of a replica that was killed in its turn, the others are rid
// after leaseDuration; a turn that was given up is seen within 2.2 retryPeriods.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = time.Second
	// releaseLimit is how long a turn is being given up at the end of the program.
	releaseLimit = time.Second
)

// Lease lets the replicas of a cluster take turns, by the Lease that the controller makes.
type Lease struct {
	lock *tellingLock
	// duration, deadline and retry are the constants above, or a test's.
	duration, deadline, retry time.Duration
}

// NewLease makes the Turns of a replica. The identity is no other replica's.
func NewLease(client kubernetes.Interface, namespace, identity string, log *slog.Logger) *Lease {
	return &Lease{
		lock: &tellingLock{log: log, Interface: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: LeaseName},
			Client:     client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
		}},
		duration: leaseDuration, deadline: renewDeadline, retry: retryPeriod,
	}
}

// Take implements [Turns]. A turn that was not renewed in time is lost before another
// replica can have it, also where this process was stopped meanwhile.
func (l *Lease) Take(ctx context.Context, f func(context.Context)) error {
	// Each turn would be told in two lines, each attempt in an outage in one.
	turn, giveUp := context.WithCancel(klog.NewContext(ctx, logr.Discard()))
	defer giveUp()
	held, lose := context.WithCancel(turn)
	watchdog := time.AfterFunc(l.deadline, lose)
	watchdog.Stop() // until the turn begins
	defer watchdog.Stop()
	started, ended := make(chan struct{}), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          &turnLock{tellingLock: l.lock, renewed: func() { watchdog.Reset(l.deadline) }},
		LeaseDuration: l.duration, RenewDeadline: l.deadline, RetryPeriod: l.retry, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				context.AfterFunc(leading, lose)
				close(started)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("take turns by the Lease %s: %w", LeaseName, err)
	}
	go func() { defer close(ended); elector.Run(turn) }()
	select {
	case <-started:
		f(held)
	case <-ended:
	}
	giveUp()
	select {
	case <-ended:
	case <-ctx.Done():
		select {
		case <-ended:
		case <-time.After(releaseLimit):
		}
	}
	return nil
}
