// Package audit writes what happened to keys, and by whom: one stream of structured
// lines that is only ever appended to. It names keys by their id and never holds a
// token or a digest.
package audit

import (
	"context"
	"log/slog"
	"time"
)

// Message is the "msg" of every line, by which the stream is told from other logs.
const Message = "audit"

// Event is what happened to a key.
type Event string

// What happens to keys.
const (
	// Created: the APIKey was first seen.
	Created Event = "created"
	// Delivered: a token was minted and put into the delivery Secret; it works.
	Delivered Event = "delivered"
	// Registered: a key that was made elsewhere works.
	Registered Event = "registered"
	// Collected: the delivery Secret is gone, by whoever collected it.
	Collected Event = "collected"
	// Uncollected: nobody collected the token in time, and its Secret was deleted.
	Uncollected Event = "uncollected"
	// Rotated: a new token took the place of this one, which works on until its end.
	Rotated Event = "rotated"
	// Ended: the overlap of a rotated token is over.
	Ended Event = "ended"
	// Edited: what the key may do, from where or for how long, was changed.
	Edited Event = "edited"
	// Suspended: callers are turned away until the key is resumed.
	Suspended Event = "suspended"
	// Resumed: callers are let in again.
	Resumed Event = "resumed"
	// NotGranted: the policy no longer grants what the key needs.
	NotGranted Event = "not_granted"
	// Revoked: callers are turned away for good.
	Revoked Event = "revoked"
	// Expired: the APIKey's expiresAt has passed.
	Expired Event = "expired"
	// Deleted: the APIKey is gone, and its keys with it.
	Deleted Event = "deleted"
	// Denied: somebody called with a key that is dead: revoked, rotated, expired or
	// deleted.
	Denied Event = "denied"
	// Restored: a stored record was changed behind the controller's back, and was put
	// back.
	Restored Event = "restored"
)

// Entry is one thing that happened. Members without a value are left out of its line.
type Entry struct {
	// Event is what happened.
	Event Event
	// Namespace, Name and UID of the APIKey.
	Namespace, Name, UID string
	// KeyID is the public name of the token, 16 hex digits; "": the APIKey as a whole.
	KeyID string
	// Serial of the token; 0: the APIKey as a whole.
	Serial int64
	// Policy is the "namespace/name" of the key's policy.
	Policy string
	// Actor is who asked for it, as far as it is known: for a change of the APIKey, the
	// field manager that wrote it last (managedFields), such as "kubectl-edit". Whose
	// hands those were is in the API server's own audit log, under the APIKey's uid.
	Actor string
	// Note says more, in words.
	Note string
	// Address of the caller, Count of the calls and Since, the first of them: of Denied.
	Address string
	Count   int64
	Since   time.Time
}

// Log is the stream. Safe for concurrent use.
type Log struct{ log *slog.Logger }

// New makes the stream on a logger; the handler says where it goes.
func New(log *slog.Logger) *Log { return &Log{log} }

// Write appends a line.
func (l *Log) Write(ctx context.Context, e Entry) {
	line := []slog.Attr{slog.String("event", string(e.Event))}
	for _, member := range []struct{ name, value string }{
		{"namespace", e.Namespace},
		{"name", e.Name},
		{"uid", e.UID},
		{"keyId", e.KeyID},
		{"policy", e.Policy},
		{"actor", e.Actor},
		{"note", e.Note},
		{"address", e.Address},
	} {
		if member.value != "" {
			line = append(line, slog.String(member.name, member.value))
		}
	}
	if e.Serial != 0 {
		line = append(line, slog.Int64("serial", e.Serial))
	}
	if e.Count != 0 {
		line = append(line, slog.Int64("count", e.Count))
	}
	if !e.Since.IsZero() {
		line = append(line, slog.Time("since", e.Since.UTC()))
	}
	l.log.LogAttrs(ctx, slog.LevelInfo, Message, line...)
}
