package lifetime

import (
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90d": 90 * day, "2w": 14 * day, "2w3d": 17 * day, "36h": 36 * time.Hour, "1h30m": 90 * time.Minute,
		"1d12h": 36 * time.Hour, "45s": 45 * time.Second, "0s": 0, "3660d": longest,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "90", "90 d", "1.5d", "-1d", "+1d", "1ms", "1h1d", "90D", "3661d", "99999d", "9999w"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestParseEnd(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 500, time.FixedZone("", 3600))
	for text, want := range map[string]string{
		"90d": "2026-05-30T11:00:00Z", "1h": "2026-03-01T12:00:00Z",
		"2027-01-01T00:00:00Z": "2027-01-01T00:00:00Z", "2027-01-01t01:00:00.9+01:00": "2027-01-01T00:00:00Z",
	} {
		if got, err := ParseEnd(text, now); err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s: %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0s", "2026-03-01T10:59:59Z", "2026-03-01", "tomorrow"} {
		if got, err := ParseEnd(text, now); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestSay(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *time.Time { t := now.Add(d); return &t }
	for want, when := range map[string]*time.Time{
		"never": nil, "in 12d": at(12 * day), "in 90d": at(90*day - time.Second), "in 24h": at(day - time.Second),
		"in 89m": at(90*time.Minute - time.Second), "3h ago": at(-3 * time.Hour), "0s ago": at(0),
	} {
		if got := Say(when, now); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for want, length := range map[string]time.Duration{
		"90d": 90 * day, "24h": day, "36h": 36 * time.Hour, "1h30m": 90 * time.Minute, "0s": 0, "1h0m5s": time.Hour + 5*time.Second, "10m": 10 * time.Minute,
	} {
		if got := SayLength(length); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
