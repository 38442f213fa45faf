package reconcile

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
)

// BenchmarkMint is APIKeys applied to APIKeys Ready, by one controller under the
// shipped identity, as many at a time as there are operations.
func BenchmarkMint(b *testing.B) {
	c := newCluster(b)
	c.start(func(o *Options) { o.Log = slog.New(slog.DiscardHandler) })
	c.issued("warm")
	watch, err := c.admin.Watch(b.Context(), &v1alpha1.APIKeyList{}, client.InNamespace(c.namespace))
	must(b, err)
	defer watch.Stop()
	b.ResetTimer()
	go func() {
		for i := range b.N {
			if err := c.admin.Create(b.Context(), c.newKey(fmt.Sprintf("bench-%d", i))); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	ready := map[string]bool{}
	for len(ready) < b.N+1 {
		select {
		case event := <-watch.ResultChan():
			if key, ok := event.Object.(*v1alpha1.APIKey); ok && hasReason(key.Status.Conditions, v1alpha1.ConditionReady, v1alpha1.ReasonActive) == nil {
				ready[key.Name] = true
			}
		case <-time.After(time.Minute):
			b.Fatalf("%d of %d are Ready", len(ready), b.N)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mints/s")
}
