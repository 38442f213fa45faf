package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
	"keygate.dev/keygate/test/apiserver"
)

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard()) // client-go tells of every outage that a test makes
	apiserver.Main(m)
}

const (
	systemNamespace = "keygate-system"
	keysNamespace   = "keygate-keys"
	// patience bounds every wait of a test.
	patience = 20 * time.Second
	// quick is the recovery wait of controllers under test.
	quick = 300 * time.Millisecond
)

// clock is a clock that tests move. Safe for concurrent use.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// cluster is a test's view of the API server, as its admin, on empty namespaces.
type cluster struct {
	testing.TB
	server *apiserver.Server
	admin  client.WithWatch
	// namespace is a tenant's.
	namespace string
	clock     *clock
	// policy is the fixture, in the system namespace, that grants everything to all.
	policy *v1alpha1.APIKeyPolicy
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	return newClusterOn(t, apiserver.Start(t))
}

func newClusterOn(t testing.TB, server *apiserver.Server) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	must(t, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)))
	admin, err := client.NewWithWatch(server.Config, client.Options{Scheme: scheme})
	must(t, err)
	c := &cluster{TB: t, server: server, admin: admin, clock: &clock{}}
	c.clear()
	c.namespace = server.Namespace("tenant", map[string]string{"tenant": "yes"})
	c.policy = c.apply(c.newPolicy("stepsies")).(*v1alpha1.APIKeyPolicy)
	return c
}

// beside is the cluster for a subtest that runs beside others, under the controllers
// that its parent started, in a namespace of its own.
func (c *cluster) beside(t *testing.T) *cluster {
	t.Helper()
	t.Parallel()
	own := *c
	own.TB = t
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "tenant-", Labels: map[string]string{"tenant": "yes"}}}
	own.namespace = own.apply(namespace).GetName()
	return &own
}

// clear removes what other tests left: they share the namespaces of the records.
func (c *cluster) clear() {
	c.Helper()
	ctx := c.Context()
	keys := &v1alpha1.APIKeyList{}
	must(c.TB, c.admin.List(ctx, keys))
	for i := range keys.Items {
		if len(keys.Items[i].Finalizers) > 0 {
			c.patch(&keys.Items[i], `{"metadata":{"finalizers":null}}`)
		}
		must(c.TB, client.IgnoreNotFound(c.admin.Delete(ctx, &keys.Items[i])))
	}
	policies := &v1alpha1.APIKeyPolicyList{}
	must(c.TB, c.admin.List(ctx, policies))
	for i := range policies.Items {
		must(c.TB, c.admin.Delete(ctx, &policies.Items[i]))
	}
	must(c.TB, c.admin.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(keysNamespace)))
	must(c.TB, c.admin.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(systemNamespace)))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs a controller under the shipped identity until stop is called, or the
// test ends.
func (c *cluster) start(change ...func(*Options)) (stop func()) {
	c.Helper()
	o := Options{Config: c.server.Controller(), Log: slog.New(slog.DiscardHandler), Now: c.clock.now, recoverAfter: quick}
	for _, f := range change {
		f(&o)
	}
	ctx, cancel := context.WithCancel(context.Background())
	controller, err := New(ctx, o)
	if err != nil {
		cancel()
		c.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- controller.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			c.Errorf("run the controller: %v", err)
		}
	})
	c.Cleanup(stop)
	return stop
}

// eventually waits until check returns nil.
func (c *cluster) eventually(check func() error) {
	c.Helper()
	var last error
	err := wait.PollUntilContextTimeout(c.Context(), 10*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		c.Fatalf("not within %s: %v", patience, last)
	}
}

// newPolicy is a policy of the system namespace that grants everything to all.
func (c *cluster) newPolicy(name string, hosts ...v1alpha1.Host) *v1alpha1.APIKeyPolicy {
	return &v1alpha1.APIKeyPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: name},
		Spec: v1alpha1.APIKeyPolicySpec{
			Hosts:        hosts,
			Grants:       []v1alpha1.Grant{{Namespaces: v1alpha1.GrantNamespaces{From: v1alpha1.NamespacesAll}}},
			KeyFormat:    v1alpha1.KeyFormat{Encoding: v1alpha1.EncodingHex, Length: 48},
			Environments: []v1alpha1.Environment{{Name: "live", Prefix: "sk_"}, {Name: "test", Prefix: "tk_"}},
			Scopes:       []v1alpha1.Scope{{Name: "read"}, {Name: "write"}, {Name: "admin", Includes: []v1alpha1.ScopeName{"read", "write"}}},
			Rules:        []v1alpha1.Rule{{Paths: []v1alpha1.PathPattern{"/{rest...}"}, Scopes: []v1alpha1.ScopeName{"read"}}},
		},
	}
}

// newKey is an APIKey of the tenant for the fixture policy.
func (c *cluster) newKey(name string, change ...func(*v1alpha1.APIKeySpec)) *v1alpha1.APIKey {
	key := &v1alpha1.APIKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name},
		Spec: v1alpha1.APIKeySpec{
			PolicyRef: v1alpha1.PolicyReference{Name: "stepsies", Namespace: systemNamespace},
			Scopes:    []v1alpha1.ScopeName{"read"},
		},
	}
	for _, f := range change {
		f(&key.Spec)
	}
	return key
}

// apply creates an object as the cluster's admin.
func (c *cluster) apply(o client.Object) client.Object {
	c.Helper()
	must(c.TB, c.admin.Create(c.Context(), o))
	return o
}

// patch applies a JSON merge patch as the cluster's admin.
func (c *cluster) patch(o client.Object, patch string) {
	c.Helper()
	must(c.TB, c.admin.Patch(c.Context(), o, mergePatch(patch)))
}

// poke makes the controller look at an object again. One that is gone by then was
// looked at without.
func (c *cluster) poke(o client.Object) {
	c.Helper()
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"poked":%q}}}`, time.Now().Format(time.RFC3339Nano))
	must(c.TB, client.IgnoreNotFound(c.admin.Patch(c.Context(), o, mergePatch(patch))))
}

// becomes waits until a condition has a reason.
func (c *cluster) becomes(key *v1alpha1.APIKey, condition, reason string) {
	c.Helper()
	c.eventually(func() error {
		if err := c.get(key); err != nil {
			return err
		}
		return hasReason(key.Status.Conditions, condition, reason)
	})
}

func hasReason(conditions []metav1.Condition, condition, reason string) error {
	got := meta.FindStatusCondition(conditions, condition)
	if got == nil || got.Reason != reason {
		return fmt.Errorf("condition %s is %+v, want reason %s", condition, got, reason)
	}
	return nil
}

func (c *cluster) get(o client.Object) error {
	return c.admin.Get(c.Context(), client.ObjectKeyFromObject(o), o)
}

// root is the installation's root Secret.
func (c *cluster) root() *keysecret.Root {
	c.Helper()
	secret := &corev1.Secret{}
	must(c.TB, c.admin.Get(c.Context(), client.ObjectKey{Namespace: systemNamespace, Name: keysecret.RootName}, secret))
	root, err := keysecret.ParseRoot(secret)
	must(c.TB, err)
	return root
}

// records are the sealed records of an APIKey, by name of the Secret.
func (c *cluster) records(uid string) map[string]*apikey.Record {
	c.Helper()
	list := &corev1.SecretList{}
	must(c.TB, c.admin.List(c.Context(), list, client.InNamespace(keysNamespace)))
	sealer, records := c.root().Sealer, map[string]*apikey.Record{}
	for i := range list.Items {
		if r, err := sealer.DecodeRecord(&list.Items[i]); err == nil && r.Owner.UID == uid {
			records[list.Items[i].Name] = r
		}
	}
	return records
}

// record is the one record of an APIKey.
func (c *cluster) record(key *v1alpha1.APIKey) *apikey.Record {
	c.Helper()
	records := c.records(string(key.UID))
	if len(records) != 1 {
		c.Fatalf("%s has %d records, want 1", key.Name, len(records))
	}
	for _, r := range records {
		return r
	}
	return nil
}

// recordSecret is the Secret of an APIKey's one record.
func (c *cluster) recordSecret(key *v1alpha1.APIKey) *corev1.Secret {
	c.Helper()
	secret := &corev1.Secret{}
	must(c.TB, c.admin.Get(c.Context(), client.ObjectKey{Namespace: keysNamespace, Name: keysecret.RecordName(c.record(key).Digest)}, secret))
	return secret
}

// delivery is the Secret that an APIKey is delivered in.
func (c *cluster) delivery(key *v1alpha1.APIKey) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	return secret, c.admin.Get(c.Context(), client.ObjectKey{Namespace: key.Namespace, Name: deliveryName(key)}, secret)
}

// oneLiveToken returns an error unless an APIKey has exactly one Active record and
// the delivery Secret holds the token of just that one.
func (c *cluster) oneLiveToken(key *v1alpha1.APIKey) error {
	var active []*apikey.Record
	for _, r := range c.records(string(key.UID)) {
		if r.State == apikey.Active {
			active = append(active, r)
		}
	}
	if len(active) != 1 {
		return fmt.Errorf("%s has %d Active records, want 1", key.Name, len(active))
	}
	secret, err := c.delivery(key)
	if err != nil {
		return err
	}
	digest, _ := c.root().Peppers.Sum(secret.Data[tokenField])
	if digest != active[0].Digest {
		return fmt.Errorf("the delivery Secret of %s holds another token than the Active one", key.Name)
	}
	if got, want := secret.Annotations[keyIDAnnotation], digest.ID(); got != want {
		return fmt.Errorf("the delivery Secret of %s says key id %s, want %s", key.Name, got, want)
	}
	return nil
}

// policyBecomes waits until a condition of a policy has a reason.
func (c *cluster) policyBecomes(p *v1alpha1.APIKeyPolicy, condition, reason string) {
	c.Helper()
	c.eventually(func() error {
		if err := c.get(p); err != nil {
			return err
		}
		return hasReason(p.Status.Conditions, condition, reason)
	})
}

// mergePatch is a JSON merge patch.
func mergePatch(patch string) client.Patch {
	return client.RawPatch(types.MergePatchType, []byte(patch))
}
