// Package scrub keeps digests out of what people read. A digest is worth nothing to
// whoever has not the pepper, but it is what the store is keyed by, and the API
// server and client-go name records, which are named from digests, in whatever they
// say.
package scrub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
)

// digestPattern finds digests in hexadecimal. The API server's errors name the
// objects that they are about, and records are named from digests.
var digestPattern = regexp.MustCompile(`([0-9a-f]{16})[0-9a-f]{48}`)

// continuePattern finds the token of a paged list's next page, in which the API
// server encodes the name of an object.
var continuePattern = regexp.MustCompile(`continue=[^&"\s]*`)

// Text leaves of every digest the key's id, and of a paged list's URL no token.
func Text(s string) string {
	return continuePattern.ReplaceAllString(digestPattern.ReplaceAllString(s, "$1…"), "continue=…")
}

// Error makes an error fit to be logged, which costs it its chain: use it on what
// is told, not on what is judged.
func Error(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(Text(err.Error()))
}

// Handler scrubs all that is logged through another handler. What is neither a
// number nor a truth value becomes text.
func Handler(h slog.Handler) slog.Handler {
	if _, ok := h.(handler); ok {
		return h
	}
	return handler{h}
}

type handler struct{ slog.Handler }

// Handle implements [slog.Handler].
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, Text(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(attr(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs implements [slog.Handler].
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = attr(a)
	}
	return handler{h.Handler.WithAttrs(clean)}
}

// WithGroup implements [slog.Handler].
func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name)}
}

// attr turns whatever is neither a number nor a truth value into clean text.
func attr(a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString, slog.KindAny, slog.KindGroup, slog.KindLogValuer:
		return slog.String(a.Key, Text(fmt.Sprint(a.Value.Any())))
	default:
		return a
	}
}
