package keysecret

import (
	"bytes"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestNewRootSecretParses(t *testing.T) {
	secret := NewRootSecret("keygate-system")
	root, err := ParseRoot(secret)
	if err != nil {
		t.Fatal(err)
	}
	if root.Peppers.Newest() != 1 || root.Sealer.newest != 1 {
		t.Errorf("versions %d and %d, want 1", root.Peppers.Newest(), root.Sealer.newest)
	}
	if bytes.Equal(secret.Data["pepper-1"], secret.Data["seal-1"]) {
		t.Error("the pepper is the seal key")
	}
	if bytes.Equal(secret.Data["pepper-1"], NewRootSecret("keygate-system").Data["pepper-1"]) {
		t.Error("two installations have one pepper")
	}
}

func TestParseRootRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*corev1.Secret){
		"no pepper":        func(c *corev1.Secret) { delete(c.Data, "pepper-1") },
		"no seal key":      func(c *corev1.Secret) { delete(c.Data, "seal-1") },
		"a short pepper":   func(c *corev1.Secret) { c.Data["pepper-1"] = []byte("canary") },
		"a short seal key": func(c *corev1.Secret) { c.Data["seal-1"] = []byte("canary") },
		"unknown member":   func(c *corev1.Secret) { c.Data["peper-2"] = []byte("canary") },
		"no version":       func(c *corev1.Secret) { c.Data["pepper-"] = []byte("canary") },
		"a version of 01":  func(c *corev1.Secret) { c.Data["seal-01"] = []byte("canary") },
		"a version of 0":   func(c *corev1.Secret) { c.Data["seal-0"] = bytes.Repeat([]byte("canary"), 6)[:32] },
	} {
		t.Run(name, func(t *testing.T) {
			secret := NewRootSecret("keygate-system")
			spoil(secret)
			_, err := ParseRoot(secret)
			if err == nil {
				t.Fatal("ParseRoot took it")
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows what the Secret holds: %v", err)
			}
		})
	}
}
