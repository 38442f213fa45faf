package reconcile

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
)

// lines collects what is logged. Safe for concurrent use.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestTokenIsNowhereElse looks for the token of a key, through all that can happen
// to it, in the log, the metrics and every object but its delivery Secret.
func TestTokenIsNowhereElse(t *testing.T) {
	c := newCluster(t)
	log, registry := &lines{}, prometheus.NewPedanticRegistry()
	c.start(func(o *Options) {
		o.Log = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug - 10}))
		o.Registerer = registry
	})
	taken := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "secret"}}
	c.apply(taken)
	key := c.apply(c.newKey("secret", func(s *v1alpha1.APIKeySpec) { s.Delivery.EnvVar = "API_KEY" })).(*v1alpha1.APIKey)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonDeliveryConflict)
	must(t, c.admin.Delete(t.Context(), taken))
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	delivery, err := c.delivery(key)
	must(t, err)
	tokens := [][]byte{delivery.Data[tokenField]}
	c.rotates(key, 2)
	delivery, err = c.delivery(key)
	must(t, err)
	tokens = append(tokens, delivery.Data[tokenField])
	c.patch(key, `{"spec":{"state":"Revoked"}}`)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRevoked)
	c.hasEvents(key, eventIssued, eventRotated, eventRevoked)

	for _, said := range []string{"Starting workers", "Request Body"} {
		if !strings.Contains(log.String(), said) {
			t.Fatalf("%q was not logged", said)
		}
	}
	found := func(where, text string) {
		// The hint may show the first few; the rest must not be anywhere.
		for _, token := range tokens {
			if holdsToken([]byte(text), token[8:]) {
				t.Errorf("the token is in %s", where)
			}
		}
	}
	found("the log", log.String())
	families, err := registry.Gather()
	must(t, err)
	for _, family := range families {
		found("the metrics", family.String())
	}
	for _, list := range []client.ObjectList{&corev1.SecretList{}, &corev1.EventList{}, &v1alpha1.APIKeyList{}, &v1alpha1.APIKeyPolicyList{}} {
		must(t, c.admin.List(t.Context(), list))
		if secrets, ok := list.(*corev1.SecretList); ok {
			for i := range secrets.Items {
				if secrets.Items[i].UID == delivery.UID {
					secrets.Items[i].Data = nil
				}
				for _, value := range secrets.Items[i].Data {
					found("a Secret's data", string(value))
				}
			}
		}
		text, err := json.Marshal(list)
		must(t, err)
		found("an object", string(text))
	}
}

// echo is a client to which the API server answers with what it was sent.
type echo struct {
	client.Client
	copies [][]byte
}

func (e *echo) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	secret := o.(*corev1.Secret)
	answer := map[string][]byte{}
	for name, sent := range secret.Data {
		answer[name] = bytes.Clone(sent)
		e.copies = append(e.copies, sent, answer[name])
	}
	secret.Data = answer
	return nil
}

// What was sent is cleared once it is delivered, and what came back.
func TestDeliveryIsCleared(t *testing.T) {
	answers := &echo{}
	r := &keys{store: &store{client: answers, namespace: keysNamespace}}
	key := aKey(func(s *v1alpha1.APIKeySpec) { s.Delivery.EnvVar = "API_KEY" })
	_, err := r.deliver(t.Context(), &issue{world: &world{facts: facts{key: key, policy: aPolicy(t)}}, token: []byte("token"), record: aRecord(1)})
	must(t, err)
	if len(answers.copies) != 6 {
		t.Fatalf("%d copies", len(answers.copies))
	}
	for i, form := range answers.copies {
		if len(form) < len("token") || len(bytes.Trim(form, "\x00")) > 0 {
			t.Errorf("copy %d is %q", i, form)
		}
	}
}

// failing is a client whose writes of records fail as long as it is told to.
type failing struct {
	client.Client
	on *atomic.Bool
}

func (f failing) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	if f.on.Load() {
		return fmt.Errorf("the Secret %s cannot be written", o.GetName())
	}
	return f.Client.Update(ctx, o, opts...)
}

// TestDigestsAreNotTold: what is told of a key, to its owner or to operators, names
// it by its id.
func TestDigestsAreNotTold(t *testing.T) {
	c := newCluster(t)
	log, fails := &lines{}, &atomic.Bool{}
	loud := func(o *Options) {
		o.Log = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug - 10}))
		o.wrap = func(inner client.Client) client.Client { return failing{inner, fails} }
	}
	stop := c.start(loud)
	key := c.issued("victim")
	c.settled(key)
	digest := c.record(key).Digest
	fails.Store(true)
	c.spoil(c.recordSecret(key))
	c.eventually(func() error {
		if !strings.Contains(log.String(), "cannot be written") {
			return errors.New("nothing failed")
		}
		return nil
	})
	fails.Store(false)
	c.hasEvents(key, eventRecordRestored)
	stop()
	c.spoil(c.recordSecret(key))
	c.start(loud)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRecordInvalid)

	events := &corev1.EventList{}
	must(t, c.admin.List(t.Context(), events, client.InNamespace(c.namespace)))
	for where, what := range map[string]any{"the Events": events.Items, "the status": key.Status, "the log": log.String()} {
		text := fmt.Sprintf("%+v", what)
		if strings.Contains(text, digest.String()) {
			t.Errorf("the digest is in %s", where)
		}
		if !strings.Contains(text, digest.ID()) {
			t.Errorf("the key's id is not in %s", where)
		}
	}
}

// An admission webhook may answer with what it refused.
func TestRedact(t *testing.T) {
	token := []byte("sk_0123456789")
	encoded := base64.StdEncoding.EncodeToString(token)
	after := func(text string) error {
		return errors.New("denied: " + base64.StdEncoding.EncodeToString([]byte(text+string(token)+"\n")))
	}
	const echoed = "deliver: the API server's answer holds the token"
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"none":                      {nil, ""},
		"harmless":                  {errors.New("exceeded quota"), "exceeded quota"},
		"a refusal":                 {&refusal{"DeliveryFailed", "exceeded quota"}, "DeliveryFailed: exceeded quota"},
		"echoed":                    {errors.New("denied: " + string(token)), echoed},
		"echoed in base64":          {errors.New(`{"data":{"token":"` + encoded + `"}}`), echoed},
		"echoed in a header line":   {after("Authorization: Bearer "), echoed},
		"echoed in a .env line":     {after("API_KEY="), echoed},
		"echoed after 1 character":  {after("1"), echoed},
		"echoed after 2 characters": {after("12"), echoed},
		"echoed after 3 characters": {after("123"), echoed},
		"another one in base64":     {errors.New(base64.StdEncoding.EncodeToString([]byte("ak_0123456789"))), base64.StdEncoding.EncodeToString([]byte("ak_0123456789"))},
		"echoed by a refusal":       {&refusal{"DeliveryFailed", "denied: " + encoded}, "DeliveryFailed: the API server refuses the delivery Secret, and its answer holds the token"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := redact(token, test.err); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	old := []metav1.Condition{
		{Type: "Ready", Status: "True", Reason: "Active", LastTransitionTime: metav1.NewTime(noon.Add(-time.Hour))},
		{Type: "Blessed", Status: "True"},
	}
	for name, test := range map[string]struct {
		want metav1.Condition
		at   time.Time
	}{
		"the same":         {yes("Ready", "Active", "still"), noon.Add(-time.Hour)},
		"another reason":   {yes("Ready", "Other", "still"), noon.Add(-time.Hour)},
		"turned":           {no("Ready", "Expired", "no more"), noon},
		"new":              {yes("Delivered", "Delivered", "there"), noon},
		"turned, too long": {no("Ready", "Invalid", strings.Repeat("ä", maxMessage)), noon},
	} {
		t.Run(name, func(t *testing.T) {
			got := conditions(old, 7, noon, test.want)
			want := test.want
			want.ObservedGeneration, want.LastTransitionTime = 7, metav1.NewTime(test.at)
			if len(want.Message) > maxMessage {
				want.Message = strings.Repeat("ä", maxMessage/2)
			}
			if diff := cmp.Diff([]metav1.Condition{want}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	forged := []metav1.Condition{{Type: "Ready", Status: "True", LastTransitionTime: metav1.NewTime(noon.Add(time.Hour))}}
	if got := conditions(forged, 1, noon, yes("Ready", "Active", "")); !got[0].LastTransitionTime.Time.Equal(noon) {
		t.Errorf("turned in the future: %s", got[0].LastTransitionTime)
	}
}
