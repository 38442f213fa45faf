package story

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/pkg/audit"
)

// TestLines: what the audit log writes is read back, and nothing else of a log.
func TestLines(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	stream := audit.New(logger)
	logger.Info("reconciled", "name", "ci")
	stream.Write(t.Context(), audit.Entry{Event: audit.Delivered, Namespace: "acme", Name: "ci", KeyID: "0123456789abcdef", Actor: "kubectl-apikey"})
	log.WriteString("panic: {not json\n" + strings.Repeat("x", maxLine+9) + "\n{\"msg\":\"audit\"}\n")
	stream.Write(t.Context(), audit.Entry{Event: audit.Denied, Namespace: "acme", Name: "ci", Address: "203.0.113.7", Count: 3})
	stream.Write(t.Context(), audit.Entry{Event: audit.Revoked, Namespace: "acme", Name: "other"})
	stream.Write(t.Context(), audit.Entry{Event: audit.Revoked, Namespace: "foreign", Name: "ci"})
	text := strings.TrimSuffix(log.String(), "\n")

	got, err := Lines(strings.NewReader(text), Wanted{Namespace: "acme", Name: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if time.Since(got[i].Time) > time.Minute {
			t.Errorf("entry %d is of %v", i, got[i].Time)
		}
		got[i].Time = time.Time{}
	}
	want := []Entry{
		{Source: "audit", Namespace: "acme", Name: "ci", What: "delivered", KeyID: "0123456789abcdef", Actor: "kubectl-apikey"},
		{Source: "audit", Namespace: "acme", Name: "ci", What: "denied", Address: "203.0.113.7", Count: 3},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if all, err := Lines(strings.NewReader(text), Wanted{}); err != nil || len(all) != 4 {
		t.Errorf("of everybody there are %d, %v; want 4", len(all), err)
	}
}

// TestEvents: of the Events those of APIKeys are told, at the time of the last of a
// series; all is put in order.
func TestEvents(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 3, 1, 12, 0, s, 0, time.UTC) }
	event := func(kind, name, reason string, s int) eventsv1.Event {
		return eventsv1.Event{
			Regarding: corev1.ObjectReference{Kind: kind, Namespace: "acme", Name: name}, Reason: reason,
			EventTime: metav1.MicroTime{Time: at(s)}, ReportingController: "keygate-controller",
		}
	}
	series := event("APIKey", "ci", "Suspended", 1)
	series.Series = &eventsv1.EventSeries{Count: 4, LastObservedTime: metav1.MicroTime{Time: at(9)}}
	old := event("APIKey", "ci", "Expired", 0)
	old.EventTime, old.DeprecatedLastTimestamp = metav1.MicroTime{}, metav1.Time{Time: at(5)}
	got := append([]Entry{{Time: at(3), Source: "audit", What: "delivered"}}, Events([]eventsv1.Event{
		series, old, event("APIKey", "ci", "Issued", 3), event("APIKey", "other", "Issued", 2), event("Pod", "ci", "Started", 2),
	}, Wanted{Namespace: "acme", Name: "ci"})...)
	Sort(got)
	want := []Entry{
		{Time: at(3), Source: "event", Namespace: "acme", Name: "ci", What: "Issued", Actor: "keygate-controller"},
		{Time: at(3), Source: "audit", What: "delivered"},
		{Time: at(5), Source: "event", Namespace: "acme", Name: "ci", What: "Expired", Actor: "keygate-controller"},
		{Time: at(9), Source: "event", Namespace: "acme", Name: "ci", What: "Suspended", Actor: "keygate-controller", Count: 4},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
