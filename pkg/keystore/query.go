package keystore

import (
	"errors"
	"net/url"
)

// withoutQuery takes the query off the URL that an error names, and keeps its chain.
func withoutQuery(err error) error {
	var failed *url.Error
	if !errors.As(err, &failed) {
		return err
	}
	address := failed.URL
	if u, parseErr := url.Parse(address); parseErr == nil {
		u.RawQuery = ""
		address = u.String()
	}
	return &url.Error{Op: failed.Op, URL: address, Err: failed.Err}
}
