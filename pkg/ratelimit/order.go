package ratelimit

// A table's order is a binary heap: the account of rank n ends no later than those
// of the ranks 2n+1 and 2n+2.

// first is the account that ends first, if there is one.
func (t *table) first() (place uint32, found bool) {
	if len(t.order) == 0 {
		return none, false
	}
	return t.order[0], true
}

// drop takes the account of a rank out.
func (t *table) drop(rank uint32) {
	last := uint32(len(t.order) - 1)
	moved := t.order[last]
	t.order = t.order[:last]
	if rank == last {
		return
	}
	t.rise(rank, moved)
	t.sink(t.accounts.at(moved).rank)
}

// rise gives an account a rank, or a lower one if it ends earlier than those there.
func (t *table) rise(rank, place uint32) {
	end := t.accounts.at(place).end
	for rank > 0 {
		above := (rank - 1) / 2
		if t.accounts.at(t.order[above]).end <= end {
			break
		}
		t.put(rank, t.order[above])
		rank = above
	}
	t.put(rank, place)
}

// sink gives the account of a rank a higher one if it ends later than those there.
func (t *table) sink(rank uint32) {
	place, n := t.order[rank], uint32(len(t.order))
	end := t.accounts.at(place).end
	for {
		below := 2*rank + 1
		if below >= n {
			break
		}
		if right := below + 1; right < n && t.accounts.at(t.order[right]).end < t.accounts.at(t.order[below]).end {
			below = right
		}
		if t.accounts.at(t.order[below]).end >= end {
			break
		}
		t.put(rank, t.order[below])
		rank = below
	}
	t.put(rank, place)
}

// put writes down an account's rank.
func (t *table) put(rank, place uint32) {
	t.order[rank] = place
	t.accounts.at(place).rank = rank
}
