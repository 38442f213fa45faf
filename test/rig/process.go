package rig

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stopLimit is what a process gets to end in before it is killed.
const stopLimit = 20 * time.Second

// logTail is how much of a log is shown with a failure, in bytes.
const logTail = 4000

// Process is a program that runs for one test.
type Process struct {
	// Log is the file of what it prints on both its outputs.
	Log string

	cmd   *exec.Cmd
	ended chan struct{}
}

// Start starts a program, which ends with the test at the latest. If the test fails,
// the end of its log is shown.
func Start(tb testing.TB, program string, args ...string) *Process {
	tb.Helper()
	log, err := os.Create(filepath.Join(tb.TempDir(), filepath.Base(program)+".log"))
	if err != nil {
		tb.Fatal(err)
	}
	defer log.Close()
	p := &Process{Log: log.Name(), cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// Not by the signal that a terminal sends to all: the test ends it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	tb.Cleanup(func() {
		p.Stop()
		if tb.Failed() {
			text := p.Text(tb)
			tb.Logf("the end of the log of %s:\n%s", filepath.Base(program), text[max(0, len(text)-logTail):])
		}
	})
	return p
}

// Stop ends the process: orderly, then by force.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopLimit):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// Text is what the process has printed so far.
func (p *Process) Text(tb testing.TB) string {
	tb.Helper()
	text, err := os.ReadFile(p.Log)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// gone says that the process ended, which nothing waits for.
func (p *Process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// await waits until check returns "", for as long as the process lives.
func (p *Process) await(tb testing.TB, check func() string) {
	tb.Helper()
	Eventually(tb, func() string {
		said := check()
		if said != "" && p.gone() {
			text := p.Text(tb)
			tb.Fatalf("%s: its process ended:\n%s", said, strings.TrimSpace(text[max(0, len(text)-logTail):]))
		}
		return said
	})
}
