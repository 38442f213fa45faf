package keystore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/pkg/scrub"
)

// fetcher reads records that are indexed but not cached.
type fetcher struct {
	// get reads a Secret of the keys namespace live (resourceVersion unset: a
	// consistent read).
	get     func(ctx context.Context, name string) (*corev1.Secret, error)
	timeout time.Duration
	decoder *decoder
	feed    *feed
	flights singleflight.Group
}

// fetch reads the digest's record from the API server, once for all who ask at a
// time, and caches it. nil without an error: it is gone, or was superseded while it
// was read; the index knows. What it returns may have been read before the caller
// asked: it counts only if the index has no younger version.
func (f *fetcher) fetch(ctx context.Context, d apikey.Digest) (*entry, error) {
	flight := f.flights.DoChan(string(d[:]), func() (any, error) {
		// Others wait for it too: it must not end with the first caller's request.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.timeout)
		defer cancel()
		return f.read(ctx, d)
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("read the record of key %s: %w", d.ID(), ctx.Err())
	case result := <-flight:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*entry), nil
	}
}

// read is one live read. What it finds counts only for the version of the index
// that it began with, or a younger one: an update or a deletion that comes in
// meanwhile stands.
func (f *fetcher) read(ctx context.Context, d apikey.Digest) (*entry, error) {
	known := f.feed.index.version(d)
	secret, err := f.get(ctx, keysecret.RecordName(d))
	switch {
	case apierrors.IsNotFound(err):
		f.feed.forget(&item{digest: d, version: known})
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the record of key %s: %w", d.ID(), scrub.Error(err))
	}
	it := f.decoder.decode(secret)
	if !it.sound || it.digest != d {
		return nil, fmt.Errorf("read the record of key %s: %w", d.ID(), errUnsound)
	}
	if !f.feed.index.confirm(d, it.version) {
		return nil, nil
	}
	f.feed.cache.put(it.entry, true)
	return it.entry, nil
}

// Errors of a look-up that can't tell.
var (
	errNotSynced  = errors.New("the key store is not synced yet")
	errUnsound    = errors.New("the stored record is not sound, and its last good state is no longer cached")
	errUnreadable = errors.New("the stored record is of a newer version of Keygate")
	errUnsettled  = errors.New("the record changed each time that it was read")
)
