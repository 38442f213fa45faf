package ratelimit

import "time"

// none is the place of nothing.
const none = ^uint32(0)

// roomy is the number of places up to which a table is not worth compacting.
const roomy = 1024

// keyID stands for a key.
type keyID [16]byte

// account is a key with its windows. Like a count it holds no pointers, so that the
// garbage collector does not look into a million of them. All times are since the
// beginning of the Memory.
type account struct {
	id keyID
	// end of the window that ends last.
	end time.Duration
	// first of its windows; none while it has none.
	first uint32
	// rank is where the table's order has the account.
	rank uint32
}

// count is a window that was opened.
type count struct {
	per, end time.Duration
	used     uint32
	// next window of the same account; none: it is the last.
	next uint32
}

// table holds accounts. Whoever uses it holds its shard's lock.
type table struct {
	// places: key → place of its account.
	places   map[keyID]uint32
	accounts slab[account]
	counts   slab[count]
	// order is a heap of the places of all accounts: the one that ends first is on
	// top.
	order []uint32
}

// newTable makes a table with room for n accounts with one window each.
func newTable(n int) table {
	return table{
		places:   make(map[keyID]uint32, n),
		accounts: slab[account]{items: make([]account, 0, n)},
		counts:   slab[count]{items: make([]count, 0, n)},
		order:    make([]uint32, 0, n),
	}
}

// look is the state of a window by its limit, in the list that begins with first.
func (t *table) look(first uint32, limit Limit, now time.Duration) Window {
	for i := first; i != none; i = t.counts.at(i).next {
		if c := t.counts.at(i); c.per == limit.Per && c.end > now {
			return Window{Limit: limit, Remaining: max(0, limit.Requests-int64(c.used)), Reset: c.end - now}
		}
	}
	return Window{Limit: limit, Remaining: limit.Requests, Reset: limit.Per}
}

// charge adds cost to an account's window, which has room for it, and returns the
// window's end. A window that is not open is opened, in the place of one that has
// ended if there is one: an account has as many as were live at a time.
func (t *table) charge(a *account, per, now time.Duration, cost int64) time.Duration {
	ended := none
	for i := a.first; i != none; i = t.counts.at(i).next {
		c := t.counts.at(i)
		if c.end <= now {
			ended = i
		} else if c.per == per {
			c.used += uint32(cost)
			return c.end
		}
	}
	if ended == none {
		ended = t.counts.add(count{next: a.first})
		a.first = ended
	}
	c := t.counts.at(ended)
	c.per, c.end, c.used = per, now+per, uint32(cost)
	return c.end
}

// enter makes an account known that has its place and its end.
func (t *table) enter(place uint32) {
	t.places[t.accounts.at(place).id] = place
	t.order = append(t.order, place)
	t.rise(uint32(len(t.order)-1), place)
}

// remove forgets an account.
func (t *table) remove(place uint32) {
	a := t.accounts.at(place)
	for i := a.first; i != none; i = t.counts.at(i).next {
		t.counts.remove(i)
	}
	delete(t.places, a.id)
	t.drop(a.rank)
	t.accounts.remove(place)
}

// compact moves everything into memory that just holds it, if three quarters of a
// large table are free.
func (t *table) compact() {
	if n := t.accounts.len(); n <= roomy || len(t.order) > n/4 {
		return
	}
	fresh := newTable(len(t.order))
	for rank, place := range t.order {
		a := *t.accounts.at(place)
		windows := a.first
		a.first, a.rank = none, uint32(rank)
		for i := windows; i != none; i = t.counts.at(i).next {
			c := *t.counts.at(i)
			c.next = a.first
			a.first = fresh.counts.add(c)
		}
		fresh.order = append(fresh.order, fresh.accounts.add(a))
		fresh.places[a.id] = fresh.order[rank]
	}
	*t = fresh
}
