package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// maxSweeps bounds how often stopAll looks for processes that are still there.
const maxSweeps = 5

// down stops everything and removes .stack. A stack that is down stays so.
func (s *stack) down() error {
	if err := s.stopAll(); err != nil {
		return err
	}
	if _, err := os.Stat(s.path(configFile)); errors.Is(err, fs.ErrNotExist) {
		say("the stack is down")
		return nil
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("remove the stack's directory: %w", err)
	}
	say("the stack is down, nothing is left of it")
	return nil
}

// stopAll stops every process that is marked as this stack's, in the opposite
// order of starting; what the tiers do not name goes first.
func (s *stack) stopAll() error {
	tiers := s.tiers()
	slices.Reverse(tiers)
	for range maxSweeps {
		pids, err := s.running()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, group := range groups(pids, tiers) {
			if err := s.stop(group); err != nil {
				return err
			}
		}
	}
	return errors.New("processes of the stack keep appearing: is another up running?")
}

// groups splits running processes by tier.
func groups(pids map[string]int, tiers [][]component) []map[string]int {
	unnamed := map[string]int{}
	for name, pid := range pids {
		unnamed[name] = pid
	}
	split := []map[string]int{unnamed}
	for _, tier := range tiers {
		group := map[string]int{}
		for _, c := range tier {
			if pid := unnamed[c.name]; pid != 0 {
				group[c.name] = pid
				delete(unnamed, c.name)
			}
		}
		split = append(split, group)
	}
	return split
}
