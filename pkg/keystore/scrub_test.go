package keystore

import (
	"bytes"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/net"
	"syscall"
)

func TestScrub(t *testing.T) {
	d := digest(1)
	for name, text := range map[string]string{
		"an object's name":    `secrets "key-` + d.String() + `" not found`,
		"a URL":               `Get "https://10.0.0.1/api/v1/namespaces/keygate-keys/secrets/key-` + d.String() + `": EOF`,
		"etcd's key":          `unable to transform key "/registry/secrets/keygate-keys/key-` + d.String() + `"`,
		"a page's token":      `Get "https://10.0.0.1/api/v1/secrets?continue=canary&limit=500": EOF`,
		"two digests at once": d.String() + d.String(),
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			logger := slog.New(scrubHandler{slog.NewTextHandler(&log, nil)})
			logger.With("with", text).WithGroup("group").Error(text, "string", text, "error", errors.New(text), "any", []string{text}, slog.Group("inner", "x", text))
			told := log.String() + scrub(errors.New(text)).Error()
			for _, secret := range []string{d.String()[16:], "canary"} {
				if strings.Contains(told, secret) {
					t.Errorf("%q is in %s", secret, told)
				}
			}
			if strings.Contains(text, d.String()) && !strings.Contains(told, d.ID()) {
				t.Errorf("the key's id is not in %s", told)
			}
		})
	}
	if scrub(nil) != nil {
		t.Error("scrub made an error of none")
	}
}

func TestWithoutQueryKeepsTheCause(t *testing.T) {
	err := withoutQuery(&url.Error{Op: "Get", URL: "https://10.0.0.1/api?continue=canary", Err: syscall.ECONNREFUSED})
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("the query is in %v", err)
	}
	if !net.IsConnectionRefused(err) {
		t.Errorf("%v does not tell its cause", err)
	}
	if plain := errors.New("plain"); withoutQuery(plain) != plain {
		t.Error("an error without a URL was changed")
	}
}
