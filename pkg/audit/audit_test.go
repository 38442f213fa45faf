package audit

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestWrite reads lines back.
func TestWrite(t *testing.T) {
	for name, tc := range map[string]struct {
		entry Entry
		want  map[string]any
	}{
		"an APIKey as a whole": {
			Entry{Event: Created, Namespace: "acme", Name: "ci", UID: "u-1", Actor: "kubectl-create"},
			map[string]any{"event": "created", "namespace": "acme", "name": "ci", "uid": "u-1", "actor": "kubectl-create"},
		},
		"one of its tokens": {
			Entry{Event: Rotated, Namespace: "acme", Name: "ci", KeyID: "0123456789abcdef", Serial: 2, Policy: "platform/stepsies", Note: "it works on until noon"},
			map[string]any{"event": "rotated", "namespace": "acme", "name": "ci", "keyId": "0123456789abcdef", "serial": 2.0, "policy": "platform/stepsies", "note": "it works on until noon"},
		},
		"callers": {
			Entry{Event: Denied, Name: "ci", Address: "203.0.113.7", Count: 12, Since: time.Date(2026, 1, 2, 4, 4, 5, 0, time.FixedZone("", 3600))},
			map[string]any{"event": "denied", "name": "ci", "address": "203.0.113.7", "count": 12.0, "since": "2026-01-02T03:04:05Z"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			New(slog.New(slog.NewJSONHandler(&out, nil))).Write(t.Context(), tc.entry)
			got := map[string]any{}
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			delete(got, "time")
			tc.want["level"], tc.want["msg"] = "INFO", Message
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
