package scrub

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"keygate.dev/keygate/pkg/apikey"
)

func TestScrub(t *testing.T) {
	d := apikey.Digest(sha256.Sum256([]byte("token")))
	for name, text := range map[string]string{
		"an object's name":    `secrets "key-` + d.String() + `" not found`,
		"a URL":               `Get "https://10.0.0.1/api/v1/namespaces/keygate-keys/secrets/key-` + d.String() + `": EOF`,
		"etcd's key":          `unable to transform key "/registry/secrets/keygate-keys/key-` + d.String() + `"`,
		"a page's token":      `Get "https://10.0.0.1/api/v1/secrets?continue=canary&limit=500": EOF`,
		"two digests at once": d.String() + d.String(),
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			logger := slog.New(Handler(slog.NewTextHandler(&log, nil)))
			logger.With("with", text).WithGroup("group").Error(text, "string", text, "error", errors.New(text), "any", []string{text}, slog.Group("inner", "x", text))
			told := log.String() + Error(errors.New(text)).Error()
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
	if Error(nil) != nil {
		t.Error("Error made an error of none")
	}
}
