// Package story tells what happened to keys, from the Events of APIKeys and from the
// audit lines that the controller and extauthz write.
package story

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	eventsv1 "k8s.io/api/events/v1"

	"keygate.dev/keygate/pkg/audit"
)

// Entry is one thing that happened.
type Entry struct {
	// Time of it; of an Event that was seen several times, the last one.
	Time time.Time `json:"time"`
	// Source is "event" or "audit".
	Source string `json:"source"`
	// Namespace and Name of the APIKey.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// What happened, in one word: an Event's reason, or an audit line's event.
	What string `json:"what"`
	// KeyID of the token; "": the APIKey as a whole.
	KeyID string `json:"keyId,omitempty"`
	// Actor is who asked for it, as far as it is known.
	Actor string `json:"actor,omitempty"`
	// Note says more.
	Note string `json:"note,omitempty"`
	// Address of a caller, and Count of calls or of times an Event was seen.
	Address string `json:"address,omitempty"`
	Count   int64  `json:"count,omitempty"`
}

// line is an audit line, as [audit.Log] writes it.
type line struct {
	Time      time.Time `json:"time"`
	Message   string    `json:"msg"`
	Event     string    `json:"event"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	KeyID     string    `json:"keyId"`
	Actor     string    `json:"actor"`
	Note      string    `json:"note"`
	Address   string    `json:"address"`
	Count     int64     `json:"count"`
}

// maxLine is the longest line of a log that is looked at, in bytes.
const maxLine = 1 << 20

// Wanted says whose entries are read.
type Wanted struct {
	// Namespace; "": all.
	Namespace string
	// Name; "": all.
	Name string
}

// fits reports whether an APIKey is wanted.
func (w Wanted) fits(namespace, name string) bool {
	return (w.Namespace == "" || w.Namespace == namespace) && (w.Name == "" || w.Name == name)
}

// Lines reads the audit lines out of a log; its other lines, whatever they are, are
// passed over.
func Lines(log io.Reader, wanted Wanted) ([]Entry, error) {
	var out []Entry
	in := bufio.NewReaderSize(log, 64<<10)
	for {
		text, err := readLine(in)
		if l, ok := parse(text); ok && wanted.fits(l.Namespace, l.Name) {
			out = append(out, Entry{
				Time: l.Time, Source: "audit", Namespace: l.Namespace, Name: l.Name, What: l.Event,
				KeyID: l.KeyID, Actor: l.Actor, Note: l.Note, Address: l.Address, Count: l.Count,
			})
		}
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
}

// readLine reads a line; of one that is too long nothing is kept.
func readLine(in *bufio.Reader) ([]byte, error) {
	var text []byte
	for tooLong := false; ; {
		part, err := in.ReadSlice('\n')
		tooLong = tooLong || len(text)+len(part) > maxLine
		if tooLong {
			text = nil
		} else {
			text = append(text, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, err
		}
	}
}

// parse reads an audit line.
func parse(text []byte) (line, bool) {
	var l line
	ok := json.Unmarshal(text, &l) == nil && l.Message == audit.Message && l.Event != ""
	return l, ok
}

// Events are what the Events of APIKeys tell.
func Events(list []eventsv1.Event, wanted Wanted) []Entry {
	var out []Entry
	for i := range list {
		e := &list[i]
		if e.Regarding.Kind != "APIKey" || !wanted.fits(e.Regarding.Namespace, e.Regarding.Name) {
			continue
		}
		entry := Entry{
			Time: When(e), Source: "event", Namespace: e.Regarding.Namespace, Name: e.Regarding.Name,
			What: e.Reason, Note: e.Note, Actor: e.ReportingController,
		}
		if e.Series != nil {
			entry.Count = int64(e.Series.Count)
		}
		out = append(out, entry)
	}
	return out
}

// When an Event happened, the last time if it did several times.
func When(e *eventsv1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	case !e.DeprecatedLastTimestamp.IsZero():
		return e.DeprecatedLastTimestamp.Time
	}
	return e.CreationTimestamp.Time
}

// Sort puts the oldest first. Of the same moment, Events come before audit lines.
func Sort(entries []Entry) {
	slices.SortStableFunc(entries, func(a, b Entry) int {
		return cmp.Or(a.Time.Compare(b.Time), -strings.Compare(a.Source, b.Source))
	})
}
