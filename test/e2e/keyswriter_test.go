package e2e

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"keygate.dev/keygate/pkg/keysecret"
)

// These tests are an attacker who may write Secrets of the keys namespace but has
// not the seal key.

// record finds the Secret of an APIKey's record by its key id.
func (s *stack) record(t *testing.T, namespace, name string) *corev1.Secret {
	t.Helper()
	u, err := s.keys(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.kube.CoreV1().Secrets(keysNamespace).List(t.Context(),
		metav1.ListOptions{LabelSelector: keysecret.LabelOwnerUID + "=" + string(u.GetUID()), FieldSelector: "type=" + string(keysecret.TypeRecord)})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("%d records of %s/%s: %v", len(list.Items), namespace, name, err)
	}
	return &list.Items[0]
}

// overwrite puts data into a Secret of the keys namespace, whatever is there.
func (s *stack) overwrite(t *testing.T, name string, data map[string][]byte) {
	t.Helper()
	secrets := s.kube.CoreV1().Secrets(keysNamespace)
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		secret, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		secret.Data = data
		_, err = secrets.Update(t.Context(), secret, metav1.UpdateOptions{FieldManager: "attacker"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// waitUndone waits until a Secret holds no longer what was put there. The controller
// looks at no record from time to time: it is its watch that told.
func (s *stack) waitUndone(t *testing.T, name string, forged map[string][]byte) {
	t.Helper()
	began := time.Now()
	eventually(t, func() string {
		secret, err := s.kube.CoreV1().Secrets(keysNamespace).Get(context.Background(), name, metav1.GetOptions{})
		if err != nil || cmp.Equal(secret.Data, forged) {
			return name + " is still as the attacker left it"
		}
		return ""
	})
	t.Logf("undone after %v", time.Since(began))
}

// writerKey is a policy and a key to attack.
func writerKey(t *testing.T, spec string) (namespace string, c call) {
	t.Helper()
	host := newHost()
	namespace = shared.namespace(t, nil)
	shared.policy(t, namespace, "plain", plainPolicy(host))
	token := shared.key(t, namespace, "victim", "policyRef: {name: plain}\n"+spec)
	return namespace, call{host: host, path: "/any", token: token}
}

func TestKeysWriterEditsARecord(t *testing.T) {
	s := shared
	ns, c := writerKey(t, "scopes: [read]")
	s.patch(t, ns, "victim", `{"spec":{"state":"Suspended"}}`)
	s.becomes(t, c, http.StatusUnauthorized)
	record := s.record(t, ns, "victim")
	forged := maps.Clone(record.Data)
	forged["record"] = []byte(strings.Replace(string(forged["record"]), `"Suspended"`, `"Active"`, 1))
	if cmp.Equal(forged, record.Data) {
		t.Fatal("nothing was forged")
	}
	s.overwrite(t, record.Name, forged)
	for range 50 {
		if a := s.do(t, c); a.status != http.StatusUnauthorized {
			t.Fatalf("the forged record lets in: %s", a)
		}
	}
	s.waitUndone(t, record.Name, forged)
}

func TestKeysWriterCopiesARecord(t *testing.T) {
	s := shared
	ns, c := writerKey(t, "")
	record := s.record(t, ns, "victim")
	digest := strings.TrimPrefix(record.Name, "key-")
	flipped := "0"
	if digest[0] == '0' {
		flipped = "1"
	}
	before := s.metricSum(t, "keygate_store_rejected_objects_total")
	copied := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "key-" + flipped + digest[1:], Labels: record.Labels}, Type: record.Type, Data: record.Data}
	if _, err := s.kube.CoreV1().Secrets(keysNamespace).Create(t.Context(), copied, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if s.metricSum(t, "keygate_store_rejected_objects_total") == before {
			return "extauthz counts no rejected object"
		}
		return ""
	})
	s.do(t, c).echo(t)
}

func TestKeysWriterRollsBackARevocation(t *testing.T) {
	s := shared
	ns, c := writerKey(t, "")
	active := s.record(t, ns, "victim")
	s.patch(t, ns, "victim", `{"spec":{"state":"Revoked"}}`)
	s.becomes(t, c, http.StatusUnauthorized)
	s.overwrite(t, active.Name, active.Data)
	s.waitUndone(t, active.Name, active.Data)
	s.becomes(t, c, http.StatusUnauthorized)
}

func TestKeysWriterRollsBackADelivery(t *testing.T) {
	s := shared
	ns, c := writerKey(t, "scopes: [read]")
	before := s.record(t, ns, "victim")
	s.patch(t, ns, "victim", `{"spec":{"scopes":["read","write"]}}`)
	c.path, c.method = "/things/1", http.MethodPost
	s.becomes(t, c, http.StatusOK)
	s.overwrite(t, before.Name, before.Data)
	s.waitUndone(t, before.Name, before.Data)
	s.becomes(t, c, http.StatusOK)
	if got := s.token(t, ns, "victim"); got != c.token {
		t.Error("a rollback made the controller mint anew")
	}
}

func TestKeysWriterDeletesARecord(t *testing.T) {
	s := shared
	ns, c := writerKey(t, "")
	record := s.record(t, ns, "victim")
	if err := s.kube.CoreV1().Secrets(keysNamespace).Delete(t.Context(), record.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		got, err := s.kube.CoreV1().Secrets(keysNamespace).Get(context.Background(), record.Name, metav1.GetOptions{})
		if err != nil || got.UID == record.UID {
			return "the record was not made again"
		}
		return ""
	})
	s.becomes(t, c, http.StatusOK)
}

// TestKeysWriterForgesAPolicy edits the accepted form of a policy so that it lets
// everybody in, and puts an older form back.
func TestKeysWriterForgesAPolicy(t *testing.T) {
	s := shared
	ns, c := writerKey(t, "")
	anonymous := call{host: c.host, path: "/any"}
	name := keysecret.PolicyName(ns, "plain")
	sealed, err := s.kube.CoreV1().Secrets(keysNamespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	forged := maps.Clone(sealed.Data)
	forged["policy"] = []byte(strings.Replace(string(forged["policy"]), `"anyKey":true`, `"anonymous":true`, 1))
	if cmp.Equal(forged, sealed.Data) {
		t.Fatal("nothing was forged")
	}
	s.overwrite(t, name, forged)
	for range 50 {
		if a := s.do(t, anonymous); a.status != http.StatusUnauthorized {
			t.Fatalf("the forged policy lets in: %s", a)
		}
	}
	s.waitUndone(t, name, forged)

	s.policy(t, ns, "plain", strings.Replace(plainPolicy(c.host), `{paths: ["/any"], anyKey: true}`, `{paths: ["/any"], scopes: [admin]}`, 1))
	s.becomes(t, c, http.StatusForbidden)
	s.overwrite(t, name, sealed.Data)
	s.waitUndone(t, name, sealed.Data)
	s.becomes(t, c, http.StatusForbidden)
}

// metricSum adds up all samples of a metric.
func (s *stack) metricSum(tb testing.TB, name string) (sum float64) {
	tb.Helper()
	for line := range strings.Lines(get(tb, s.vars["METRICS"]+"/metrics")) {
		if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
			fields := strings.Fields(line)
			sum += s.metric(tb, strings.Join(fields[:len(fields)-1], " "))
		}
	}
	return sum
}
