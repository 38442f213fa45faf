package keystore

import (
	"errors"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"k8s.io/apimachinery/pkg/util/net"
)

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
