package program

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"runtime/debug"
	"testing"
)

// TestLimitMemory: what the environment says is left alone, and nothing is told of a
// machine that limits nobody. A container's limit is below the machine's memory, so a
// limit that was set is more than a process begins with.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))

	t.Setenv("GOMEMLIMIT", "123456789")
	debug.SetMemoryLimit(123456789)
	LimitMemory(logger)
	if got := debug.SetMemoryLimit(-1); got != 123456789 {
		t.Errorf("with GOMEMLIMIT the limit is %d", got)
	}
	if err := os.Unsetenv("GOMEMLIMIT"); err != nil {
		t.Fatal(err)
	}
	LimitMemory(logger)
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 && got < 1<<20 {
		t.Errorf("the limit is %d", got)
	}
	if log.Len() > 0 {
		t.Errorf("log: %s", &log)
	}
}
