package reconcile

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

// What tests of drift share: somebody changes what only the controller may write, and
// the controller undoes it.

// undone waits until a change behind the controller's back is undone. The controller
// looks for none from time to time: it is its watch that told.
func (c *cluster) undone(check func() error) {
	c.Helper()
	began := time.Now()
	c.eventually(check)
	c.Logf("undone after %v", time.Since(began))
}

// bare is a Secret as somebody would make it anew from a copy.
func bare(secret *corev1.Secret) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: secret.Namespace, Name: secret.Name, Labels: secret.Labels},
		Type:       secret.Type,
		Data:       secret.Data,
	}
}

// untilIdle repeats what a controller that has nothing to do makes succeed. One that
// happens to look at a key may read there what somebody changed a moment before it is
// told of the change, and go by that until it is.
func (c *cluster) untilIdle(try func() error) {
	c.Helper()
	c.eventually(func() error {
		err := try()
		if err != nil {
			c.Logf("once more: %v", err)
		}
		return err
	})
}

// rollsBack puts an older form in the place of a key's one record, and waits until the
// newer one is back.
func (c *cluster) rollsBack(key *v1alpha1.APIKey, old *corev1.Secret, newer func(*apikey.Record) bool) {
	c.Helper()
	c.untilIdle(func() error {
		now, revision := c.recordSecret(key), c.record(key).Revision
		now.Data = old.Data
		must(c.TB, c.admin.Update(c.Context(), now))
		c.undone(func() error {
			if r := c.record(key); !newer(r) {
				return fmt.Errorf("record: %+v", r)
			}
			return nil
		})
		if c.record(key).Revision <= revision {
			return errors.New("it was judged by the spec")
		}
		return nil
	})
}

// revoked returns an error unless a record of an APIKey is Revoked.
func (c *cluster) revoked(key *v1alpha1.APIKey) error {
	var states []apikey.State
	for _, r := range c.records(string(key.UID)) {
		if r.State == apikey.Revoked {
			return nil
		}
		states = append(states, r.State)
	}
	return fmt.Errorf("the records are %v", states)
}

// settled waits until the controller has told what it did, so that it has nothing
// left to write.
func (c *cluster) settled(key *v1alpha1.APIKey) {
	c.Helper()
	c.eventually(func() error {
		must(c.TB, c.get(key))
		if key.Status.ObservedGeneration != key.Generation {
			return fmt.Errorf("generation %d is not observed", key.Generation)
		}
		return nil
	})
}
