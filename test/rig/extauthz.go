package rig

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// Extauthz is one more extauthz of a stack.
type Extauthz struct {
	*Process
	// Address is where it answers Envoy: host:port, or a socket's path.
	Address string
	// Admin is the base URL of its probes and metrics.
	Admin string
}

// StartExtauthz runs one more extauthz on the stack's cluster, with flags of its own,
// under the shipped identity, and returns once it is ready.
func (s *Stack) StartExtauthz(tb testing.TB, flags ...string) *Extauthz {
	tb.Helper()
	return s.StartExtauthzAs(tb, filepath.Join(s.Dir, "extauthz.kubeconfig"), flags...)
}

// StartExtauthzAs is StartExtauthz under the identity of a kubeconfig.
func (s *Stack) StartExtauthzAs(tb testing.TB, kubeconfig string, flags ...string) *Extauthz {
	tb.Helper()
	args := append([]string{"--kubeconfig=" + kubeconfig, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--drain-delay=0s"}, flags...)
	e := &Extauthz{Process: Start(tb, filepath.Join(s.Dir, "libexec", "extauthz"), args...)}
	e.await(tb, func() string {
		listening := e.entry(tb, "listening")
		if listening == nil {
			return "extauthz does not listen"
		}
		e.Address, _ = listening["grpc"].(string)
		e.Admin = fmt.Sprintf("http://%v", listening["admin"])
		if status, body, err := fetch(e.Admin + "/readyz"); err != nil || status != http.StatusOK {
			return fmt.Sprintf("extauthz is not ready: %d %s %v", status, body, err)
		}
		return ""
	})
	return e
}

// entry is the first line of the log with a message.
func (e *Extauthz) entry(tb testing.TB, message string) map[string]any {
	tb.Helper()
	for line := range strings.Lines(e.Text(tb)) {
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == message {
			return entry
		}
	}
	return nil
}
