package keystore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
)

// digestPattern finds digests in hexadecimal. The API server's errors name the
// objects that they are about, and records are named from digests.
var digestPattern = regexp.MustCompile(`([0-9a-f]{16})[0-9a-f]{48}`)

// continuePattern finds the token of a paged list's next page, in which the API
// server encodes the name of an object.
var continuePattern = regexp.MustCompile(`continue=[^&"\s]*`)

// scrubText leaves of every digest the key's id.
func scrubText(s string) string {
	return continuePattern.ReplaceAllString(digestPattern.ReplaceAllString(s, "$1…"), "continue=…")
}

// scrub makes an error fit to be logged, which costs it its chain: use it on what
// is told, not on what is judged.
func scrub(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(scrubText(err.Error()))
}

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

// scrubHandler scrubs what client-go has to say.
type scrubHandler struct{ slog.Handler }

// Handle implements [slog.Handler].
func (h scrubHandler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, scrubText(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(scrubAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs implements [slog.Handler].
func (h scrubHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = scrubAttr(a)
	}
	return scrubHandler{h.Handler.WithAttrs(clean)}
}

// WithGroup implements [slog.Handler].
func (h scrubHandler) WithGroup(name string) slog.Handler {
	return scrubHandler{h.Handler.WithGroup(name)}
}

// scrubAttr turns whatever is neither a number nor a truth value into clean text.
func scrubAttr(a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString, slog.KindAny, slog.KindGroup, slog.KindLogValuer:
		return slog.String(a.Key, scrubText(fmt.Sprint(a.Value.Any())))
	default:
		return a
	}
}
