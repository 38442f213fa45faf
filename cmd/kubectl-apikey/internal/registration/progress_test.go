package registration

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestProgress: a log gets a line a thousand, a terminal one line that is written over
// and taken off.
func TestProgress(t *testing.T) {
	var log, terminal bytes.Buffer
	now := time.Now()
	l, s := NewProgress(&log, false, 2500), NewProgress(&terminal, true, 2500)
	s.now = func() time.Time { return now }
	for range 2500 {
		now = now.Add(time.Millisecond)
		l.Step()
		s.Step()
	}
	l.End()
	s.End()
	if got := log.String(); got != "1000 of 2500\n2000 of 2500\n" {
		t.Errorf("a log gets %q", got)
	}
	got := terminal.String()
	if n := strings.Count(got, "\r"); n < 20 || n > 30 || strings.Contains(got, "\n") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("a terminal gets %d: %q", n, got)
	}
	var nobody *Progress
	nobody.Step()
	nobody.End()
}
