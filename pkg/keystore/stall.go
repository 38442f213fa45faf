package keystore

import (
	"context"
	"time"
)

const (
	// stallAfter is the silence of the watch that raises the alarm. The API server
	// sends a bookmark about once a minute where nothing happens.
	stallAfter = 3 * time.Minute
	// stallCheck is how often it is looked for.
	stallCheck = 30 * time.Second
)

// watchForStalls tells when the watch falls silent and when it speaks again, until
// ctx ends.
func (f *feed) watchForStalls(ctx context.Context) {
	ticker := time.NewTicker(stallCheck)
	defer ticker.Stop()
	for stalled := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			stalled = f.checkStall(stalled)
		}
	}
}

// checkStall reports whether the watch is silent, and tells of a change.
func (f *feed) checkStall(was bool) (stalled bool) {
	heard := f.heard.Load()
	if heard == 0 {
		return false // not synced, which is told elsewhere
	}
	age := f.now().Sub(time.Unix(0, heard))
	stalled = age > stallAfter
	switch {
	case stalled && !was:
		f.log.Error("the watch of the keys namespace is silent: keys are judged by what was known then", "age", age)
	case was && !stalled:
		f.log.Info("the watch of the keys namespace speaks again")
	}
	return stalled
}
