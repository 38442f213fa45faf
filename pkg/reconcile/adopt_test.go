package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// lose deletes APIKeys and their delivery Secrets behind the controller's back.
func (c *cluster) lose(keys ...*v1alpha1.APIKey) {
	c.Helper()
	for _, key := range keys {
		c.patch(key, `{"metadata":{"finalizers":null}}`)
		must(c.TB, c.admin.Delete(c.Context(), key))
		if secret, err := c.delivery(key); err == nil {
			must(c.TB, c.admin.Delete(c.Context(), secret)) // as the garbage collector does
		}
	}
}

// restored makes APIKeys and the policy again, as restoring a backup does: with the
// same names and specs, under new uids. What is in the keys namespace stays.
func (c *cluster) restored(keys ...*v1alpha1.APIKey) (again []*v1alpha1.APIKey) {
	c.Helper()
	for _, key := range keys {
		again = append(again, &v1alpha1.APIKey{
			ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, Finalizers: []string{finalizer}},
			Spec:       *key.Spec.DeepCopy(),
		})
	}
	c.lose(keys...)
	must(c.TB, c.admin.Delete(c.Context(), c.policy))
	c.policy = c.apply(c.newPolicy("stepsies")).(*v1alpha1.APIKeyPolicy)
	for _, key := range again {
		c.apply(key)
	}
	return again
}

// digestsOf are the digests of an APIKey's records, by their state.
func (c *cluster) digestsOf(key *v1alpha1.APIKey) map[apikey.Digest]apikey.State {
	c.Helper()
	states := map[apikey.Digest]apikey.State{}
	for _, r := range c.records(string(key.UID)) {
		states[r.Digest] = r.State
	}
	return states
}

// TestAdoptRestored restores a cluster whose uids are new: every token works as
// before, and none is minted.
func TestAdoptRestored(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	active, suspended, revoked, gone := c.issued("active"), c.issued("suspended"), c.issued("revoked"), c.issued("gone")
	rotated := c.issued("rotated", keeps)
	c.rotates(rotated, 2)
	c.patch(suspended, `{"spec":{"state":"Suspended"}}`)
	c.becomes(suspended, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended)
	c.patch(revoked, `{"spec":{"state":"Revoked"}}`)
	c.becomes(revoked, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
	want := []map[apikey.Digest]apikey.State{c.digestsOf(active), c.digestsOf(suspended), c.digestsOf(revoked), c.digestsOf(rotated)}
	stop()

	c.lose(gone)
	must(t, c.get(revoked))
	must(t, c.get(suspended))
	must(t, c.get(rotated))
	revoked.Spec.State = v1alpha1.StateActive // the backup of it is older than that of the records
	keys := c.restored(active, suspended, revoked, rotated)
	stop = c.start(func(o *Options) { o.AdoptRestored = true })
	c.becomes(keys[0], v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	c.becomes(keys[1], v1alpha1.ConditionReady, v1alpha1.ReasonSuspended)
	c.becomes(keys[2], v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
	c.becomes(keys[3], v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	for i, key := range keys {
		if got := c.digestsOf(key); !maps.Equal(got, want[i]) {
			t.Errorf("%s has other tokens than before: %v, want %v", key.Name, got, want[i])
		}
	}
	c.recordBecomes(keys[0], func(r *apikey.Record) bool { return r.Policy.UID == string(c.policy.UID) })
	if left := c.digestsOf(gone); !slices.Contains(slices.Collect(maps.Values(left)), apikey.Active) {
		t.Errorf("what may still be restored is not kept: %v", left)
	}
	c.eventually(func() error { return c.noLedgerOf(active) })
	stop()

	c.start() // the restore is over
	c.recordBecomes(gone, inState(apikey.Deleted))
	if err := c.oneLedgerEach(keys[:3]); err != nil {
		t.Error(err)
	}
}

// noLedgerOf returns an error while the ledger of an APIKey is there.
func (c *cluster) noLedgerOf(key *v1alpha1.APIKey) error {
	err := c.admin.Get(c.Context(), client.ObjectKey{Namespace: keysNamespace, Name: keysecret.LedgerName(string(key.UID))}, &corev1.Secret{})
	if client.IgnoreNotFound(err) == nil && err != nil {
		return nil
	}
	return fmt.Errorf("the ledger of %s is there: %w", key.Name, err)
}

// oneLedgerEach returns an error unless each APIKey has a ledger that names its one
// record.
func (c *cluster) oneLedgerEach(keys []*v1alpha1.APIKey) error {
	for _, key := range keys {
		secret := &corev1.Secret{}
		if err := c.admin.Get(c.Context(), client.ObjectKey{Namespace: keysNamespace, Name: keysecret.LedgerName(string(key.UID))}, secret); err != nil {
			return err
		}
		ledger, err := c.root().Sealer.DecodeLedger(secret)
		if err != nil {
			return err
		}
		if r := c.record(key); ledger.Entries[r.Serial].Digest != r.Digest {
			return fmt.Errorf("the ledger of %s does not name its record", key.Name)
		}
	}
	return nil
}

// TestAdoptRevivesNothing: a token that ended stays so, though a backup holds its record
// from before.
func TestAdoptRevivesNothing(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	before := c.issued("ended", keeps)
	older := &corev1.Secret{ObjectMeta: bareName(keysecret.RecordName(c.record(before).Digest))}
	must(t, c.get(older))
	c.rotates(before, 2)
	c.patch(before, `{"spec":{"rotation":{"overlap":"0s"}}}`)
	c.recordBecomes(before, inState(apikey.Rotated))
	c.patch(before, `{"spec":{"rotation":{"overlap":"24h"}}}`) // which is too late for it
	c.observed(before)
	want := c.serial(before, 2).Digest
	stop()

	now := &corev1.Secret{ObjectMeta: bareName(older.Name)}
	must(t, c.get(now))
	older.ResourceVersion = now.ResourceVersion
	must(t, c.admin.Update(t.Context(), older))
	key := c.restored(before)[0]
	c.start(func(o *Options) { o.AdoptRestored = true })
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	c.eventually(func() error {
		states := c.digestsOf(key)
		if len(states) != 2 || states[want] != apikey.Active {
			return fmt.Errorf("records: %v", states)
		}
		for digest, state := range states {
			if digest != want && state != apikey.Rotated {
				return fmt.Errorf("the ended token is %s", state)
			}
		}
		return nil
	})
}

// TestNothingIsAdoptedUnasked: without the flag, an APIKey made again is a new one.
func TestNothingIsAdoptedUnasked(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	before := c.issued("again")
	old := c.record(before).Digest
	stop()
	key := c.restored(before)[0]
	c.start()
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	if c.record(key).Digest == old {
		t.Error("the token of a deleted APIKey works for the next one of its name")
	}
	c.recordBecomes(before, func(r *apikey.Record) bool { return r.RetiredAt != nil })
}

// TestAdoptIsKilledAtEveryWrite: whatever was written, the next controller goes on.
func TestAdoptIsKilledAtEveryWrite(t *testing.T) {
	for n := 1; ; n++ {
		c := newCluster(t)
		stop := c.start()
		before := c.issued("killed")
		want := c.digestsOf(before)
		stop()
		key := c.restored(before)[0]
		s := &killSwitch{at: n, after: n%2 == 0}
		stop = c.start(func(o *Options) { o.AdoptRestored, o.wrap = true, s.wrap })
		c.eventually(func() error {
			if s.isKilled() || s.isQuiet() && maps.Equal(c.digestsOf(key), want) {
				return nil
			}
			return fmt.Errorf("write %d: %v", n, c.digestsOf(key))
		})
		stop()
		stop = c.start(func(o *Options) { o.AdoptRestored = true })
		c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
		if got := c.digestsOf(key); !maps.Equal(got, want) {
			t.Errorf("killed at write %d: %v, want %v", n, got, want)
		}
		stop()
		if !s.isKilled() {
			return // there is no n-th write
		}
	}
}
