package reconcile

import (
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// The wait before a failed delivery is tried again: doubled from first to last.
const (
	firstRetry = 2 * time.Second
	lastRetry  = time.Minute
)

// attempts remembers what this process saw of mints that are not through. All of
// it can be lost: then a recovery only begins later. Safe for concurrent use.
type attempts struct {
	now func() time.Time

	mu sync.Mutex
	// of are the attempts, by APIKey.
	of map[client.ObjectKey]*attempt
}

// attempt is what this process saw of the mint of one APIKey.
type attempt struct {
	uid string
	// named is the digest that the ledger was first seen to name at since.
	named apikey.Digest
	since time.Time
	// given up: the record of the digest was deleted by this process.
	abandoned apikey.Digest
	// failed is the last failure, of this generation; failures counts them.
	failed     *failure
	generation int64
	failures   int
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{now: now, of: map[client.ObjectKey]*attempt{}}
}

// at returns what is known of an APIKey, with the lock held.
func (a *attempts) at(key *v1alpha1.APIKey) *attempt {
	name := client.ObjectKeyFromObject(key)
	if a.of[name] == nil || a.of[name].uid != string(key.UID) {
		a.of[name] = &attempt{uid: string(key.UID)}
	}
	return a.of[name]
}

// seen notes that the ledger names a digest whose record is not Active, and
// returns for how long this process has known.
func (a *attempts) seen(key *v1alpha1.APIKey, digest apikey.Digest) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.at(key)
	if known.named != digest {
		known.named, known.since = digest, a.now()
	}
	return a.now().Sub(known.since)
}

// abandon notes that this process deleted the record of a digest before its key
// ever was Active.
func (a *attempts) abandon(key *v1alpha1.APIKey, digest apikey.Digest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at(key).abandoned = digest
}

// abandoned reports whether abandon was called for the digest.
func (a *attempts) abandoned(key *v1alpha1.APIKey, digest apikey.Digest) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.of[client.ObjectKeyFromObject(key)]
	return known != nil && known.uid == string(key.UID) && known.abandoned == digest
}

// fail notes that a token could not be delivered, and returns when to try again.
func (a *attempts) fail(key *v1alpha1.APIKey, reason, message string) *failure {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.at(key)
	wait := min(firstRetry<<min(known.failures, 16), lastRetry)
	known.failures++
	known.generation = key.Generation
	known.failed = &failure{reason: reason, message: message, until: a.now().Add(wait)}
	return known.failed
}

// failure returns the last failure of the APIKey as it is now specified, nil
// where there is none.
func (a *attempts) failure(key *v1alpha1.APIKey) *failure {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.of[client.ObjectKeyFromObject(key)]
	if known == nil || known.uid != string(key.UID) || known.generation != key.Generation {
		return nil
	}
	return known.failed
}

// forget drops what is known of an APIKey: its token is delivered, or it is gone.
func (a *attempts) forget(name client.ObjectKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.of, name)
}
