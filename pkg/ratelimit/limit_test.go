package ratelimit

import (
	"strings"
	"testing"
	"time"
)

func TestCheckLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		limits []Limit
		want   string // part of the error; "": there is none
	}{
		"none":                          {nil, ""},
		"the least and the most":        {[]Limit{per(1, MinPer), per(MaxRequests, MaxPer)}, ""},
		"a fraction of a second":        {[]Limit{per(1, 1500*time.Millisecond)}, ""},
		"no requests":                   {[]Limit{per(0, time.Hour)}, "a limit of 0 requests"},
		"too many requests":             {[]Limit{per(MaxRequests+1, time.Hour)}, "choose 1 to 4294967295"},
		"too short":                     {[]Limit{per(1, MinPer-time.Millisecond)}, "a limit per 999ms"},
		"too long":                      {[]Limit{per(1, MaxPer+time.Millisecond)}, "to 8784h0m0s"},
		"less than a millisecond":       {[]Limit{per(1, time.Second+time.Microsecond)}, "whole milliseconds"},
		"two of the same length":        {[]Limit{per(1, time.Hour), per(9, time.Minute), per(2, 60*time.Minute)}, "two limits per 1h0m0s"},
		"more than there can be":        {make([]Limit, MaxLimits+1), "leave 8 at most"},
		"the second of two is no limit": {[]Limit{per(1, time.Hour), {}}, "a limit of 0 requests"},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckLimits(tc.limits)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("got %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestRetryAfterSeconds(t *testing.T) {
	for wait, want := range map[time.Duration]int{
		-time.Second:    1,
		0:               1,
		1:               1,
		time.Second - 1: 1,
		time.Second:     1,
		time.Second + 1: 2,
		time.Hour - 1:   3600,
		time.Hour:       3600,
		MaxPer:          31_622_400,
	} {
		if got := RetryAfterSeconds(wait); got != want {
			t.Errorf("%v: got %d, want %d", wait, got, want)
		}
	}
}

// TestUncountable asks what can't be counted.
func TestUncountable(t *testing.T) {
	for kind, newBackend := range backends {
		b := newBackend(t)
		for name, tc := range map[string]struct {
			key    string
			limits []Limit
			cost   int64
		}{
			"no key":          {"", []Limit{per(1, time.Hour)}, 1},
			"no cost":         {"a", []Limit{per(1, time.Hour)}, 0},
			"a negative cost": {"a", []Limit{per(1, time.Hour)}, -1},
			"no limit at all": {"a", []Limit{{}}, 1},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				got, err := b.Take(t.Context(), tc.key, tc.limits, tc.cost)
				if err == nil {
					t.Errorf("got %+v, want an error", got)
				}
				equal(t, "result beside the error", Result{}, got)
			})
		}
	}
}
