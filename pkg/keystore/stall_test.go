package keystore

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestStallRaisesAlarm lets the watch be silent, speak, and be silent again.
func TestStallRaisesAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newUnfed(t, 1)
		log := &logBuffer{}
		s.feed.log = slog.New(slog.NewTextHandler(log, nil))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.feed.watchForStalls(ctx)
		expect := func(when string, alarms, relieved int) {
			t.Helper()
			synctest.Wait()
			if got := strings.Count(log.String(), "is silent"); got != alarms {
				t.Errorf("%s: %d alarms, want %d", when, got, alarms)
			}
			if got := strings.Count(log.String(), "speaks again"); got != relieved {
				t.Errorf("%s: relieved %d times, want %d", when, got, relieved)
			}
		}
		<-time.After(time.Hour)
		expect("before the first list", 0, 0)
		s.feed.UpdateResourceVersion("5")
		<-time.After(stallAfter)
		expect("a bookmark late", 0, 0)
		<-time.After(time.Hour)
		expect("an hour of silence", 1, 0)
		s.feed.UpdateResourceVersion("6")
		<-time.After(stallCheck + time.Second)
		expect("a bookmark", 1, 1)
		<-time.After(time.Hour)
		expect("another hour of silence", 2, 1)
	})
}
