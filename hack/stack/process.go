package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// mark is the environment variable by which the stack knows its own processes:
// "<directory of the stack>:<component>". A process id alone proves nothing after
// a crash or a reboot.
const mark = "KEYGATE_STACK_COMPONENT"

const (
	stopLimit   = 15 * time.Second // then it is killed; extauthz drains for five seconds
	stopPoll    = 50 * time.Millisecond
	logTailSize = 15 // lines
)

// running maps each component of this stack that has a process to its id.
func (s *stack) running() (map[string]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	pids := map[string]int{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if name := s.componentOf(pid); name != "" {
			pids[name] = pid
		}
	}
	return pids, nil
}

// componentOf returns which component of this stack a process is, or "". Zombies
// have no environment, and so are none.
func (s *stack) componentOf(pid int) string {
	environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return "" // gone, or somebody else's
	}
	for _, variable := range bytes.Split(environ, []byte{0}) {
		if name, ours := bytes.CutPrefix(variable, []byte(mark+"="+s.dir+":")); ours {
			return string(name)
		}
	}
	return ""
}

// start starts a component as the leader of its own session, so that it outlives
// the terminal, with its output appended to its log.
func (s *stack) start(c component) error {
	log, err := os.OpenFile(s.logPath(c.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.program, c.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Env = append(componentEnvironment(), mark+"="+s.dir+":"+c.name)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	ended := make(chan struct{})
	go func() { // so that one that dies at once is no zombie
		_ = cmd.Wait()
		close(ended)
	}()
	return s.awaitMark(c.name, cmd.Process.Pid, ended)
}

// awaitMark waits until a new process can be told by its environment: the kernel
// shows that only some moments after the program was started.
func (s *stack) awaitMark(name string, pid int, ended <-chan struct{}) error {
	for s.componentOf(pid) != name {
		select {
		case <-ended:
			return fmt.Errorf("%s: %w; the end of its log:\n%s", name, errDied, s.logTail(name))
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// componentEnvironment is the caller's environment without credentials: a component
// has those of its own kubeconfig only.
func componentEnvironment() []string {
	var environ []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "KUBECONFIG=") && !strings.HasPrefix(variable, mark+"=") {
			environ = append(environ, variable)
		}
	}
	return environ
}

// stop stops processes of this stack: orderly, then by force.
func (s *stack) stop(pids map[string]int) error {
	for name, pid := range pids {
		if s.componentOf(pid) == name {
			// One that is suspended handles nothing until it continues.
			_ = errors.Join(syscall.Kill(pid, syscall.SIGTERM), syscall.Kill(pid, syscall.SIGCONT))
		}
	}
	if s.waitGone(pids, stopLimit) {
		return nil
	}
	for name, pid := range pids {
		if s.componentOf(pid) == name {
			say("%s did not stop in %s: killing it", name, stopLimit)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	if !s.waitGone(pids, stopLimit) {
		return fmt.Errorf("processes that cannot be killed: %v", pids)
	}
	return nil
}

func (s *stack) waitGone(pids map[string]int, limit time.Duration) bool {
	for deadline := time.Now().Add(limit); ; <-time.After(stopPoll) {
		left := 0
		for name, pid := range pids {
			if s.componentOf(pid) == name {
				left++
			}
		}
		if left == 0 || time.Now().After(deadline) {
			return left == 0
		}
	}
}

func (s *stack) logPath(name string) string { return s.path("log", name+".log") }

// logTail returns the last lines of a component's log, indented.
func (s *stack) logTail(name string) string {
	data, err := os.ReadFile(s.logPath(name))
	if err != nil {
		return "  (no log)"
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-logTailSize):], "\n  ")
}
