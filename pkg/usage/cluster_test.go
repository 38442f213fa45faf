package usage

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/test/apiserver"
)

// patience bounds the waits of these tests.
const patience = time.Minute

// cluster is a real API server with APIKeys, as its admin sees it.
type cluster struct {
	testing.TB
	server    *apiserver.Server
	admin     client.WithWatch
	namespace string
}

func newCluster(tb testing.TB, server *apiserver.Server) *cluster {
	tb.Helper()
	klog.SetLogger(logr.Discard())
	ctrllog.SetLogger(logr.Discard())
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			tb.Fatal(err)
		}
	}
	admin, err := client.NewWithWatch(server.Config, client.Options{Scheme: scheme})
	if err != nil {
		tb.Fatal(err)
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "keygate-system", Name: LeaseName}} // the controller's work
	if err := admin.Create(tb.Context(), lease); err != nil && !apierrors.IsAlreadyExists(err) {
		tb.Fatal(err)
	}
	return &cluster{tb, server, admin, server.Namespace("usage", nil)}
}

// idOf is a token's id, which is no other APIKey's: a number for each, and three
// tokens of each.
func idOf(number, token int) uint64 { return uint64(number)<<8 | uint64(token) }

// key makes an APIKey with three tokens, as the controller would, and returns it as
// records name it.
func (c *cluster) key(ctx context.Context, name string, number int) (apikey.Ref, error) {
	key := &v1alpha1.APIKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name},
		Spec:       v1alpha1.APIKeySpec{PolicyRef: v1alpha1.PolicyReference{Name: "stepsies"}},
	}
	if err := c.admin.Create(ctx, key); err != nil {
		return apikey.Ref{}, err
	}
	key.Status.Hint = "sk_"
	for token := range 3 {
		key.Status.Keys = append(key.Status.Keys, v1alpha1.IssuedKey{ID: fmt.Sprintf("%016x", idOf(number, token)), State: "Active"})
	}
	return apikey.Ref{Namespace: key.Namespace, Name: key.Name, UID: string(key.UID)}, c.admin.Status().Update(ctx, key)
}

// keys makes many APIKeys.
func (c *cluster) keys(n int) []apikey.Ref {
	c.Helper()
	refs := make([]apikey.Ref, n)
	var group errgroup.Group
	group.SetLimit(16)
	for i, name := range names(n) {
		group.Go(func() (err error) {
			refs[i], err = c.key(c.Context(), name, i)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		c.Fatal(err)
	}
	return refs
}

// get reads an APIKey.
func (c *cluster) get(name string) *v1alpha1.APIKey {
	c.Helper()
	key := &v1alpha1.APIKey{}
	if err := c.admin.Get(c.Context(), client.ObjectKey{Namespace: c.namespace, Name: name}, key); err != nil {
		c.Fatal(err)
	}
	return key
}

// eventually waits until check returns "".
func (c *cluster) eventually(limit time.Duration, check func() string) {
	c.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for {
		said := check()
		if said == "" {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			c.Fatalf("not within %s: %s", limit, said)
		}
	}
}

// fenced waits until the admission policy for extauthz is in force, which follows
// its object by a second or two.
func (c *cluster) fenced() {
	c.Helper()
	if _, err := c.key(c.Context(), "fence", 1<<20); err != nil {
		c.Fatal(err)
	}
	c.eventually(patience, func() string {
		if err := c.patch(c.extauthz(), "fence", `{"status":{"hint":"x"}}`); err == nil || !strings.Contains(err.Error(), "keygate-extauthz-apikeys") {
			return fmt.Sprintf("it is not in force: %v", err)
		}
		return ""
	})
}

// extauthz is a client under the identity that ships.
func (c *cluster) extauthz() client.Client {
	c.Helper()
	who, err := client.New(c.server.Extauthz(), client.Options{Scheme: c.admin.Scheme()})
	if err != nil {
		c.Fatal(err)
	}
	return who
}

// patch patches the status of an APIKey.
func (c *cluster) patch(who client.Client, name, patch string) error {
	key := &v1alpha1.APIKey{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name}}
	return who.Status().Patch(context.Background(), key, client.RawPatch(types.MergePatchType, []byte(patch)))
}

// timedSink remembers when its writes began.
type timedSink struct {
	Sink
	mu    *sync.Mutex
	begun *[]time.Time
}

func (s *timedSink) Put(ctx context.Context, c Change) error {
	s.mu.Lock()
	*s.begun = append(*s.begun, time.Now())
	s.mu.Unlock()
	return s.Sink.Put(ctx, c)
}

// replica is one of several extauthz.
type replica struct {
	*Collector
	sink *timedSink
	stop func()
}

// replica starts one under the identity that ships, with turns short enough that
// there are many.
func (c *cluster) replica(identity string, perSecond int, begun *[]time.Time, mu *sync.Mutex) *replica {
	c.Helper()
	config := c.server.Extauthz()
	config.QPS = -1
	api, err := NewAPI(config)
	if err != nil {
		c.Fatal(err)
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		c.Fatal(err)
	}
	r := &replica{Collector: NewCollector(200_000), sink: &timedSink{api, mu, begun}}
	o := options(r.Collector, r.sink)
	turns := NewLease(clients, "keygate-system", identity, slog.New(slog.DiscardHandler))
	turns.duration, turns.deadline, turns.retry = 3*time.Second, 2*time.Second, 200*time.Millisecond
	o.Turns, o.PerSecond, o.Interval = turns, perSecond, 5*time.Second
	r.stop = run(c.TB, o, func(w *Writer) { w.turn = 5 * time.Second })
	c.Cleanup(r.stop)
	return r
}

// used notes the use of one of an APIKey's tokens.
func (r *replica) used(owner apikey.Ref, number, token int, at time.Time) {
	record := recordOf("", idOf(number, token))
	record.Owner = owner
	r.Used(record, at)
}
