package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const before = `spec:
  properties:
    at: {format: date-time, type: string}
    bounded: {format: int32, maximum: 9, minimum: 1, type: integer}
    count: {format: int32, type: integer}
    list:
      items:
        format: date-time
        type: string
      type: array
    named: {format: date-time, pattern: ^x$, type: string}
    size: {format: int64, type: integer}
`

const after = `---
spec:
  properties:
    at:
      format: date-time
      pattern: ` + timePattern + `
      type: string
    bounded:
      format: int32
      maximum: 9
      minimum: 1
      type: integer
    count:
      format: int32
      maximum: 2147483647
      minimum: -2147483648
      type: integer
    list:
      items:
        format: date-time
        pattern: ` + timePattern + `
        type: string
      type: array
    named:
      format: date-time
      pattern: ^x$
      type: string
    size:
      format: int64
      type: integer
`

func TestBoundsWhatHasNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "crd.yaml")
	if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time changes nothing
		if err := bound(file); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(after, string(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestTimePattern(t *testing.T) {
	pattern := regexp.MustCompile(timePattern)
	for time, want := range map[string]bool{
		"2027-01-01T00:00:00Z":           true,
		"2027-12-31T23:59:59.999999999Z": true,
		"2027-01-01T00:00:00+05:30":      true,
		"2027-01-01t00:00:00z":           false,
		"2027-01-01T00:00:00":            false,
		"2027-13-01T00:00:00Z":           false,
		"2027-01-01T24:00:00Z":           false,
		"0001-01-01T00:00:00Z":           false,
	} {
		if got := pattern.MatchString(time); got != want {
			t.Errorf("%s: got %v, want %v", time, got, want)
		}
	}
}
