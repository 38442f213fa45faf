package ratelimit

// slab keeps values in one piece of memory and reuses the places of those removed.
type slab[T any] struct {
	items []T
	// free places.
	free []uint32
}

// at is the value in a place. It is good until the next add.
func (s *slab[T]) at(place uint32) *T { return &s.items[place] }

// add puts a value into a place and returns it.
func (s *slab[T]) add(item T) (place uint32) {
	if last := len(s.free) - 1; last >= 0 {
		place, s.free = s.free[last], s.free[:last]
		s.items[place] = item
		return place
	}
	s.items = append(s.items, item)
	return uint32(len(s.items) - 1)
}

// remove frees a place. Its value stays readable until the next add.
func (s *slab[T]) remove(place uint32) { s.free = append(s.free, place) }

// len is the number of places, free ones too.
func (s *slab[T]) len() int { return len(s.items) }
