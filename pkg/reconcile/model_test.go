package reconcile

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/test/apiserver"
)

var (
	modelSeed  = flag.Uint64("model.seed", 0, "seed of TestModel; 0: a new one each time")
	modelSteps = flag.Int("model.steps", 60, "operations of TestModel; more if few tokens were issued by then")
)

// TestModel does random things to some APIKeys, while the controller is killed at
// random writes and the clock jumps, and compares what lets callers in with a model
// that is much simpler than the controller. On each change of a record, whatever the
// moment, no two tokens of one serial may work.
func TestModel(t *testing.T) {
	seed := cmp.Or(*modelSeed, rand.Uint64())
	t.Logf("-model.seed=%d", seed)
	m := &model{cluster: newClusterOn(t, apiserver.StartOwn(t)), random: rand.New(rand.NewPCG(seed, 0))}
	m.observe()
	m.startController(0)
	for step := 0; step < *modelSteps || m.tokens() < *modelSteps/8 && step < 10**modelSteps; step++ {
		op := m.step()
		m.trace = append(m.trace, fmt.Sprintf("%d %s", step, op))
		m.settle()
	}
	m.stop()
	if m.tokens() < *modelSteps/8 {
		t.Errorf("%d tokens were delivered in %d steps: the model was hardly exercised", m.tokens(), len(m.trace))
	}
}

// model is what the test knows of its APIKeys.
type model struct {
	*cluster
	random *rand.Rand
	stop   func()
	keys   []*modelKey
	made   int
	// trace is what was done.
	trace []string

	mu sync.Mutex
	// delivered are the digests of all tokens that a delivery Secret ever held.
	delivered map[apikey.Digest]bool
	// violated says what was seen that must never be.
	violated error
}

// modelKey is what ought to be true of one APIKey.
type modelKey struct {
	key *v1alpha1.APIKey
	// rotations is how often a new token was asked for since the first, at the most;
	// serial is the newest that was seen to work.
	serial int64
	// ended are tokens that must never work again.
	ended map[apikey.Digest]bool
	// over: the APIKey is revoked or deleted.
	over, deleted bool
}

func (m *model) tokens() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.delivered)
}

// observe watches what is delivered, and that no two tokens of a serial work.
func (m *model) observe() {
	m.delivered = map[apikey.Digest]bool{}
	watcher, err := m.admin.Watch(m.Context(), &corev1.SecretList{})
	must(m.TB, err)
	m.Cleanup(watcher.Stop)
	live := map[apikey.Digest]*apikey.Record{}
	go func() {
		for event := range watcher.ResultChan() {
			if secret, ok := event.Object.(*corev1.Secret); ok {
				m.seen(secret, string(event.Type), live)
			}
		}
	}()
}

// seen takes one change of a Secret.
func (m *model) seen(secret *corev1.Secret, event string, live map[apikey.Digest]*apikey.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if event == "DELETED" {
		if digest, err := keysecret.DigestOf(secret.Name); err == nil {
			delete(live, digest)
		}
		return
	}
	root := &corev1.Secret{}
	if err := m.admin.Get(context.Background(), client.ObjectKey{Namespace: systemNamespace, Name: keysecret.RootName}, root); err != nil {
		return
	}
	keys, err := keysecret.ParseRoot(root)
	if err != nil {
		return
	}
	if secret.Type == keysecret.TypeToken {
		digest, _ := keys.Peppers.Sum(secret.Data[tokenField])
		m.delivered[digest] = true
	}
	if r, err := keys.Sealer.DecodeRecord(secret); err == nil {
		delete(live, r.Digest)
		if m.lets(r) {
			live[r.Digest] = r
			for _, other := range live {
				if other.Digest != r.Digest && other.Owner == r.Owner && other.Serial == r.Serial && m.lets(other) {
					m.violated = fmt.Errorf("two tokens of serial %d of %s work", r.Serial, r.Owner.Name)
				}
			}
		}
	}
}

// lets reports whether a record lets callers in, as extauthz judges it.
func (m *model) lets(r *apikey.Record) bool {
	return r.State == apikey.Active && r.RetiredAt == nil && !r.Expired(m.clock.now())
}

// startController starts one that is killed at its n-th write and started again; 0:
// never.
func (m *model) startController(n int) {
	if n == 0 {
		m.stop = m.start()
		return
	}
	s := &killSwitch{at: n, after: m.random.IntN(2) == 0}
	m.stop = m.start(func(o *Options) { o.wrap = s.wrap })
}

// step does one random thing.
func (m *model) step() string {
	if m.alive() < 3 {
		return m.create()
	}
	k := m.keys[m.random.IntN(len(m.keys))]
	switch m.random.IntN(12) {
	case 0, 1, 2:
		return m.rotate(k)
	case 3:
		return m.edit(k, fmt.Sprintf(`{"spec":{"rotation":{"overlap":%q}}}`, []string{"0s", "10m", "2h", "24h"}[m.random.IntN(4)]))
	case 4:
		return m.edit(k, fmt.Sprintf(`{"spec":{"state":%q}}`, []string{"Active", "Suspended"}[m.random.IntN(2)]))
	case 5:
		if m.random.IntN(3) == 0 {
			k.over = true
			return m.edit(k, `{"spec":{"state":"Revoked"}}`)
		}
		return m.edit(k, `{"spec":{"scopes":["read","write"]}}`)
	case 6:
		at := m.clock.now().Add(time.Duration(m.random.IntN(8)-2) * time.Hour).UTC().Format(time.RFC3339)
		return m.edit(k, fmt.Sprintf(`{"spec":{"expiresAt":%q}}`, at))
	case 7:
		return m.edit(k, `{"spec":{"expiresAt":null}}`)
	case 8:
		if m.random.IntN(3) == 0 {
			return m.remove(k)
		}
		return m.edit(k, `{"metadata":{"annotations":{"poked":"`+fmt.Sprint(m.made)+`"}}}`)
	case 9, 10:
		by := time.Duration(1+m.random.IntN(180)) * time.Minute
		m.clock.advance(by)
		m.pokeAll()
		return "the clock goes on by " + by.String()
	}
	m.stop()
	n := m.random.IntN(9)
	m.startController(n)
	return fmt.Sprintf("a new controller, killed at write %d", n)
}

// alive is how many APIKeys may still get a token: a revoked one never does.
func (m *model) alive() (n int) {
	for _, k := range m.keys {
		if !k.over {
			n++
		}
	}
	return n
}

func (m *model) create() string {
	m.made++
	name := fmt.Sprintf("key-%d", m.made)
	key := m.newKey(name, func(s *v1alpha1.APIKeySpec) {
		if m.random.IntN(2) == 0 {
			s.Delivery.Retain = v1alpha1.RetainKeep
		}
	})
	m.apply(key)
	m.keys = append(m.keys, &modelKey{key: key, ended: map[apikey.Digest]bool{}})
	return "create " + name
}

func (m *model) rotate(k *modelKey) string {
	must(m.TB, m.get(k.key))
	next := int64(1)
	if k.key.Spec.Rotation != nil {
		next = k.key.Spec.Rotation.Serial
	}
	next += 1 + m.random.Int64N(2)
	return m.edit(k, fmt.Sprintf(`{"spec":{"rotation":{"serial":%d}}}`, next))
}

// edit patches an APIKey. A revoked one takes no change of state, which is its right.
func (m *model) edit(k *modelKey, patch string) string {
	if k.over && strings.Contains(patch, `"state"`) && !strings.Contains(patch, "Revoked") {
		return "nothing"
	}
	m.patch(k.key, patch)
	return k.key.Name + " " + patch
}

func (m *model) remove(k *modelKey) string {
	must(m.TB, m.admin.Delete(m.Context(), k.key))
	k.over, k.deleted = true, true
	m.keys = slices.DeleteFunc(m.keys, func(other *modelKey) bool { return other == k })
	m.settleKey(k)
	return "delete " + k.key.Name
}

// pokeAll makes the controller look at the new time: its timers run on real time.
func (m *model) pokeAll() {
	for _, k := range m.keys {
		m.poke(k.key)
	}
}

// settle waits until every APIKey is as it ought to be. A killed controller makes way
// for a new one first.
func (m *model) settle() {
	m.Helper()
	for _, k := range m.keys {
		m.settleKey(k)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.violated != nil {
		m.Fatalf("%v, after:\n%s", m.violated, strings.Join(m.trace, "\n"))
	}
}

// patientFor is how long a controller has to settle an APIKey before it is taken to
// be a killed one, and a new one is started.
const patientFor = 2 * time.Second

func (m *model) settleKey(k *modelKey) {
	m.Helper()
	if m.settles(k, patientFor) == nil {
		return
	}
	m.stop()
	m.startController(0)
	if err := m.settles(k, patience); err != nil {
		m.Fatalf("%s: %v, after:\n%s", k.key.Name, err, strings.Join(m.trace, "\n"))
	}
}

// settles waits until an APIKey is as it ought to be, and returns in what it is not.
func (m *model) settles(k *modelKey, limit time.Duration) (last error) {
	err := wait.PollUntilContextTimeout(m.Context(), 10*time.Millisecond, limit, true, func(context.Context) (bool, error) {
		last = m.compare(k)
		return last == nil, nil
	})
	return errors.Join(err, last)
}

// compare returns in what an APIKey is not as it ought to be.
func (m *model) compare(k *modelKey) error {
	if !k.deleted {
		if err := m.get(k.key); err != nil {
			return err
		}
		if k.key.Status.ObservedGeneration != k.key.Generation {
			return fmt.Errorf("generation %d is not observed", k.key.Generation)
		}
	}
	records := slices.SortedFunc(maps.Values(m.records(string(k.key.UID))), func(a, b *apikey.Record) int { return cmp.Compare(a.Serial, b.Serial) })
	if err := m.compareOld(k, records); err != nil {
		return err
	}
	return m.compareNewest(k, records)
}

// compareOld looks at the tokens that have a successor, and at those that ended.
func (m *model) compareOld(k *modelKey, records []*apikey.Record) error {
	overlap := 24 * time.Hour
	if r := k.key.Spec.Rotation; r != nil && r.Overlap != nil {
		overlap = r.Overlap.Duration
	}
	var successor *apikey.Record
	younger := 0 // tokens that have not ended
	for _, r := range slices.Backward(records) {
		if k.ended[r.Digest] && m.lets(r) {
			return fmt.Errorf("the token of serial %d had ended, and works again", r.Serial)
		}
		if successor != nil && r.DeliveredAt != nil {
			end := successor.DeliveredAt.Add(overlap)
			over := !m.clock.now().Before(end) || younger >= 8
			if over && r.State != apikey.Rotated && r.State != apikey.Revoked {
				return fmt.Errorf("the overlap of serial %d is over, and it is %s", r.Serial, r.State)
			}
			if !over && m.lets(r) && (r.ExpiresAt == nil || r.ExpiresAt.After(end)) {
				return fmt.Errorf("serial %d works until %v, not until %v", r.Serial, r.ExpiresAt, end)
			}
			if !over && !k.ended[r.Digest] && m.wantsLive(k) && !m.lets(r) {
				return fmt.Errorf("serial %d is %s until %v, before its overlap ends at %v", r.Serial, r.State, r.ExpiresAt, end)
			}
			if over {
				k.ended[r.Digest] = true
			}
		}
		if r.DeliveredAt != nil {
			successor = r
			if !k.ended[r.Digest] {
				younger++
			}
		}
	}
	return nil
}

// wantsLive reports whether the spec wants the APIKey's tokens to work.
func (m *model) wantsLive(k *modelKey) bool {
	s := &k.key.Spec
	return !k.over && s.State == v1alpha1.StateActive && (s.ExpiresAt == nil || m.clock.now().Before(s.ExpiresAt.Time))
}

// compareNewest looks at the newest token: it works if the spec wants it, it is
// what was asked for, and somebody got it.
func (m *model) compareNewest(k *modelKey, records []*apikey.Record) error {
	var live []*apikey.Record
	for _, r := range records {
		if m.lets(r) {
			live = append(live, r)
		}
	}
	if !m.wantsLive(k) {
		if len(live) > 0 {
			return fmt.Errorf("%d tokens work, want none", len(live))
		}
		return nil
	}
	if len(live) == 0 {
		return fmt.Errorf("no token works: %s", k.key.Status.Conditions[0].Message)
	}
	newest := live[len(live)-1]
	asked := int64(1)
	if k.key.Spec.Rotation != nil {
		asked = k.key.Spec.Rotation.Serial
	}
	if newest.Serial < asked || newest.Serial < k.serial || newest.Rotation != asked {
		return fmt.Errorf("the newest token is of serial %d, for rotation %d; want %d or more, for rotation %d", newest.Serial, newest.Rotation, max(asked, k.serial), asked)
	}
	k.serial = newest.Serial
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range live {
		if !m.delivered[r.Digest] {
			return fmt.Errorf("serial %d works, and was delivered to nobody", r.Serial)
		}
	}
	return nil
}
