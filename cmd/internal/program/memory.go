package program

import (
	"log/slog"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// LimitMemory lets the garbage collector work harder where nine tenths of what the
// container may have are used: a heap is else collected only when it has doubled, and
// a process that holds half of its limit is killed for garbage. Where there is no limit,
// or GOMEMLIMIT is set, it changes nothing.
func LimitMemory(log *slog.Logger) {
	if _, err := memlimit.Set(memlimit.WithRatio(0.9)); err != nil {
		log.Warn("the container's memory limit could not be read; the garbage collector goes without", "error", err)
	}
}
