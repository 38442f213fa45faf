package usage

import (
	"slices"
	"time"

	"keygate.dev/keygate/pkg/apikey"
)

// key is what is noted of one APIKey. It is in exactly one place at a time: in the
// queue, with the writer, or at rest after a write.
type key struct {
	owner apikey.Ref

	// Guarded by the shard's mutex:

	// uses of its tokens, of which few are used at a time.
	uses []use
	// since is when the oldest use that is not written was noted, in Unix seconds; 0:
	// all are written.
	since int64

	// The writer's own, or the queue's:

	// until is when its rest ends.
	until time.Time
	// refusals are answers, one after another, that said it cannot be written.
	refusals int
	// next in its list.
	next *key
}

// use is when one token was last used.
type use struct {
	// id is that of the token, as a number.
	id uint64
	// noted and written are Unix minutes.
	noted, written int64
}

// note notes that a token was used in a minute, and reports whether that makes the
// key one that is to be written.
func (k *key) note(id uint64, minute int64) bool {
	for i := range k.uses {
		if k.uses[i].id == id {
			k.uses[i].noted = max(k.uses[i].noted, minute)
			return k.since == 0 && k.uses[i].noted > k.uses[i].written
		}
	}
	k.uses = append(k.uses, use{id: id, noted: minute})
	return k.since == 0
}

// change is what is not written.
func (k *key) change() Change {
	c := Change{Owner: k.owner}
	for _, u := range k.uses {
		if u.noted > u.written {
			c.Uses = append(c.Uses, Use{ID: u.id, Minute: u.noted})
		}
	}
	return c
}

// settle takes a change for written, and reports whether nothing is left to write.
func (k *key) settle(c Change) bool {
	left := false
	for i := range k.uses {
		u := &k.uses[i]
		for _, done := range c.Uses {
			if done.ID == u.id {
				u.written = max(u.written, done.Minute)
			}
		}
		left = left || u.noted > u.written
	}
	return !left
}

// prune forgets tokens that were not used since a minute.
func (k *key) prune(minute int64) {
	k.uses = slices.DeleteFunc(k.uses, func(u use) bool { return u.noted <= u.written && u.noted < minute })
}

// list is a queue of keys, first in, first out.
type list struct{ head, tail *key }

func (l *list) push(k *key) {
	k.next = nil
	if l.tail == nil {
		l.head = k
	} else {
		l.tail.next = k
	}
	l.tail = k
}

// pop returns nil where there is none.
func (l *list) pop() *key {
	k := l.head
	if k == nil {
		return nil
	}
	l.head, k.next = k.next, nil
	if l.head == nil {
		l.tail = nil
	}
	return k
}
