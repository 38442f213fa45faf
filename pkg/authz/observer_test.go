package authz

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecisionLog(t *testing.T) {
	for name, tc := range map[string]struct {
		lines           DecisionLog
		allowed, denied int
	}{
		"none": {LogNone, 0, 0}, "unset": {"", 0, 0}, "denied": {LogDenied, 0, 1}, "all": {LogAll, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, newFixture(t), func(o *ServerOptions) { o.Decisions = tc.lines })
			s.check(t, envoyRequest(request(), true))
			if got := strings.Count(s.log.String(), "\n"); got != tc.allowed {
				t.Errorf("%d lines for an allow, want %d", got, tc.allowed)
			}
			s.log.Reset()
			s.check(t, envoyRequest(request(Field{"x-api-key", token}), true))
			if got := strings.Count(s.log.String(), "\n"); got != tc.denied {
				t.Errorf("%d lines for a denial, want %d", got, tc.denied)
			}
			if strings.Contains(s.log.String(), token) {
				t.Error("the token is in the log")
			}
		})
	}
}

func TestDecisionLogLine(t *testing.T) {
	f := newFixture(t)
	s := start(t, f, nil)
	for name, tc := range map[string]struct {
		method string
		want   map[string]any
	}{
		"allowed":              {"GET", map[string]any{"reason": "allowed", "detail": "", "method": "GET", "keyId": f.record.Digest.ID()}},
		"a method with a dash": {"VERSION-CONTROL", map[string]any{"reason": "no_rule", "detail": "", "method": "VERSION-CONTROL", "keyId": ""}},
		"a method made up":     {token, map[string]any{"reason": "no_rule", "detail": "", "method": "", "keyId": ""}},
		"a long method":        {strings.Repeat("A", 33), map[string]any{"reason": "no_rule", "detail": "", "method": "", "keyId": ""}},
		"a method as long as can be": {strings.Repeat("Z", 32),
			map[string]any{"reason": "no_rule", "detail": "", "method": strings.Repeat("Z", 32), "keyId": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			s.log.Reset()
			r := bare(tc.method, "/v1/stepsies", Field{"authorization", "Bearer " + token}, Field{"x-request-id", "req-1"})
			s.check(t, envoyRequest(r, true))
			got := map[string]any{}
			if err := json.Unmarshal(s.log.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			delete(got, "time")
			tc.want["msg"], tc.want["level"] = "request decided", "INFO"
			tc.want["policy"], tc.want["requestId"] = "platform/stepsies", "req-1"
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseDecisionLog(t *testing.T) {
	for s, ok := range map[string]bool{"none": true, "denied": true, "all": true, "": false, "ALL": false} {
		if got, err := ParseDecisionLog(s); (err == nil) != ok || ok && string(got) != s {
			t.Errorf("ParseDecisionLog(%q) = %q, %v", s, got, err)
		}
	}
}
