package keystore

import "sync"

// rejectionLimit bounds what is remembered of rejected objects: who can write the
// keys namespace could make any number of them.
const rejectionLimit = 4096

// rejections remembers which objects were not sound, so that each is told of once
// and is not read again before it changes.
type rejections struct {
	mu sync.Mutex
	// versions: name of the Secret → resourceVersion that was rejected.
	versions map[string]uint64
}

func newRejections() *rejections { return &rejections{versions: map[string]uint64{}} }

// add reports whether the rejection is news. Past the limit all is forgotten and
// the telling starts anew.
func (r *rejections) add(name string, version uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, found := r.versions[name]; found && known == version {
		return false
	}
	if len(r.versions) >= rejectionLimit {
		clear(r.versions)
	}
	r.versions[name] = version
	return true
}

// has reports whether this very version was rejected.
func (r *rejections) has(name string, version uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, found := r.versions[name]
	return found && known == version
}

// forget makes every object be judged and told of anew.
func (r *rejections) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.versions)
}
