// Package lifetime reads and writes times as people say them: "90d", "in 12 days".
package lifetime

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// day is what "d" stands for: 24 hours, whatever the clocks do.
const day = 24 * time.Hour

// longest is the longest time that can be said: the API takes 99999h, and nobody means
// more than ten years.
const longest = 3660 * day

// spoken is a duration as people say it: weeks and days before what Go takes.
var spoken = regexp.MustCompile(`^(?:(\d{1,4})w)?(?:(\d{1,5})d)?((?:\d{1,5}h)?(?:\d{1,6}m)?(?:\d{1,8}s)?)$`)

var errDuration = errors.New(`not a duration: write it as "90d", "2w", "36h" or "1h30m"`)

// Parse reads a duration in whole seconds: "90d", "2w3d", "36h", "1h30m", "0s".
func Parse(text string) (time.Duration, error) {
	match := spoken.FindStringSubmatch(text)
	if text == "" || match == nil {
		return 0, errDuration
	}
	var sum time.Duration
	for i, unit := range []time.Duration{7 * day, day} {
		if match[i+1] != "" {
			n, err := strconv.Atoi(match[i+1])
			if err != nil {
				return 0, errDuration
			}
			sum += time.Duration(n) * unit
		}
	}
	if match[3] != "" {
		rest, err := time.ParseDuration(match[3])
		if err != nil {
			return 0, errDuration
		}
		sum += rest
	}
	if sum > longest {
		return 0, fmt.Errorf("%s is too long: ten years are the most", text)
	}
	return sum, nil
}

// ParseEnd reads when something ends: an RFC 3339 time, or a duration from now on. It
// is in the future, in UTC and to the second.
func ParseEnd(text string, now time.Time) (time.Time, error) {
	end, err := time.Parse(time.RFC3339, strings.ToUpper(text))
	if err != nil {
		length, err := Parse(text)
		if err != nil {
			return time.Time{}, errors.New(`not a time: write a duration such as "90d", or a time such as "2027-01-01T00:00:00Z"`)
		}
		end = now.Add(length)
	}
	if !end.After(now) {
		return time.Time{}, errors.New("that is over already: the key would never work")
	}
	return end.UTC().Truncate(time.Second), nil
}

// Say says when t is or was, seen from now: "in 12d", "3h ago"; "never" for nil.
func Say(t *time.Time, now time.Time) string {
	switch {
	case t == nil || t.IsZero():
		return "never"
	case t.After(now):
		return "in " + duration.HumanDuration(rounded(t.Sub(now)))
	}
	return duration.HumanDuration(now.Sub(*t)) + " ago"
}

// rounded rounds what is left by as much as nobody would tell, so that 90 days are not
// 89 a second after they began.
func rounded(d time.Duration) time.Duration {
	switch {
	case d > 2*day:
		return d.Round(time.Hour)
	case d > 2*time.Hour:
		return d.Round(time.Minute)
	}
	return d
}

// SayLength says how long something lasts, in as few units as hold it: "90d", "36h",
// "1h30m".
func SayLength(d time.Duration) string {
	if d >= 2*day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
