package rig

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"keygate.dev/keygate/hack/testbin"
)

// Envoy is an Envoy that runs for one test.
type Envoy struct {
	*Process
	// Admin is the base URL of its admin interface.
	Admin string
}

// StartEnvoy runs Envoy on a configuration, whose ports may be 0, and returns once its
// clusters are initialised and its listeners open.
func StartEnvoy(tb testing.TB, config string) *Envoy {
	tb.Helper()
	program, err := testbin.Envoy(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	file, address := filepath.Join(dir, "envoy.yaml"), filepath.Join(dir, "admin")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	e := &Envoy{Process: Start(tb, program, "--config-path", file, "--admin-address-path", address,
		"--disable-hot-restart", "--concurrency", "2", "--log-level", "warning", "--file-flush-interval-msec", "100")}
	e.await(tb, func() string {
		text, err := os.ReadFile(address)
		if err != nil {
			return err.Error()
		}
		e.Admin = "http://" + strings.TrimSpace(string(text))
		if status, body, err := fetch(e.Admin + "/ready"); err != nil || status != http.StatusOK {
			return fmt.Sprintf("Envoy is not ready: %s %v", body, err)
		}
		return ""
	})
	return e
}

// Listener is the host:port on which the listener of a name listens.
func (e *Envoy) Listener(tb testing.TB, name string) string {
	tb.Helper()
	var listeners struct {
		Statuses []struct {
			Name  string `json:"name"`
			Local struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal([]byte(e.Page(tb, "/listeners?format=json")), &listeners); err != nil {
		tb.Fatal(err)
	}
	for _, l := range listeners.Statuses {
		if l.Name == name {
			return fmt.Sprintf("%s:%d", l.Local.Socket.Address, l.Local.Socket.Port)
		}
	}
	tb.Fatalf("Envoy has no listener %s", name)
	return ""
}

// Page is a page of its admin interface, such as "/certs".
func (e *Envoy) Page(tb testing.TB, path string) string {
	tb.Helper()
	status, body, err := fetch(e.Admin + path)
	if err != nil || status != http.StatusOK {
		tb.Fatalf("%s: %d %v", path, status, err)
	}
	return string(body)
}

// fetch gets a page.
func fetch(url string) (status int, body []byte, err error) {
	resp, err := http.Get(url)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// Manifest reads a file of config/gateways.
func Manifest(tb testing.TB, name string) string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(Root(), "config", "gateways", name))
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// Edit replaces parts of a configuration that belong to the place where it runs. Each
// must be in it, so that what is tested is what is shipped but for them.
func Edit(tb testing.TB, text string, edits ...[2]string) string {
	tb.Helper()
	for _, edit := range edits {
		if !strings.Contains(text, edit[0]) {
			tb.Fatalf("the configuration does not hold %q", edit[0])
		}
		text = strings.ReplaceAll(text, edit[0], edit[1])
	}
	return text
}
