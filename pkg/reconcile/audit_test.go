package reconcile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/audit"
)

// stream is an audit stream that can be read while it is written.
type stream struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

// told are the lines about an APIKey: event, serial and actor.
func (s *stream) told(t *testing.T, name string) (lines []string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(s.out.String()) {
		var e struct {
			Msg, Event, Name, UID, KeyID, Actor string
			Serial                              int64
		}
		must(t, json.Unmarshal([]byte(line), &e))
		if e.Msg != audit.Message || e.UID == "" || (e.KeyID == "") != (e.Serial == 0) {
			t.Errorf("incomplete: %s", line)
		}
		if e.Name == name {
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %d %s", e.Event, e.Serial, e.Actor)))
		}
	}
	return lines
}

// TestAudit reads the story of a key's whole life.
func TestAudit(t *testing.T) {
	c := newCluster(t)
	s := &stream{}
	c.start(func(o *Options) { o.Audit = audit.New(slog.New(slog.NewJSONHandler(s, nil))) })
	key := c.newKey("watched")
	must(t, c.admin.Create(t.Context(), key, client.FieldOwner("kubectl-create")))
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	edit := func(manager, patch, reason string) {
		t.Helper()
		must(t, c.admin.Patch(t.Context(), key, mergePatch(patch), client.FieldOwner(manager)))
		c.observed(key)
		c.becomes(key, v1alpha1.ConditionReady, reason)
	}
	edit("argocd", `{"spec":{"scopes":["read","write"],"metadata":{"team":"acme"}}}`, v1alpha1.ReasonActive)
	edit("kubectl-edit", `{"spec":{"state":"Suspended"}}`, v1alpha1.ReasonSuspended)
	edit("kubectl-edit", `{"spec":{"state":"Active"}}`, v1alpha1.ReasonActive)
	secret, err := c.delivery(key)
	must(t, err)
	must(t, c.admin.Delete(t.Context(), secret))
	edit("kubectl-apikey", `{"metadata":{"annotations":{"keygate.dev/collected":"`+c.record(key).Digest.ID()+`"}}}`, v1alpha1.ReasonActive)
	c.becomes(key, v1alpha1.ConditionDelivered, v1alpha1.ReasonHandedOver)
	edit("kubectl-apikey", `{"spec":{"rotation":{"serial":2}}}`, v1alpha1.ReasonActive)
	c.eventually(func() error {
		if records := c.records(string(key.UID)); len(records) != 2 {
			return fmt.Errorf("%d records", len(records))
		}
		return nil
	})
	edit("kubectl-edit", `{"spec":{"rotation":{"overlap":"0s"}}}`, v1alpha1.ReasonActive)
	c.recordBecomes(key, inState(apikey.Rotated))
	c.clock.advance(defaultTTL)
	c.poke(key)
	c.becomes(key, v1alpha1.ConditionDelivered, v1alpha1.ReasonHandedOver)
	at := c.clock.now().Add(time.Hour).UTC().Format(time.RFC3339)
	edit("argocd", `{"spec":{"expiresAt":"`+at+`"}}`, v1alpha1.ReasonActive)
	c.clock.advance(2 * time.Hour)
	c.poke(key)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonExpired)
	edit("kubectl-edit", `{"spec":{"state":"Revoked"}}`, v1alpha1.ReasonRevoked)
	must(t, c.admin.Delete(t.Context(), key))
	want := []string{
		"created 0 kubectl-create",
		"delivered 1",
		"edited 1 argocd",
		"suspended 1 kubectl-edit",
		"resumed 1 kubectl-edit",
		"collected 1 kubectl-apikey",
		"rotated 1 kubectl-apikey",
		"delivered 2",
		"ended 1 kubectl-edit",
		"uncollected 2",
		"edited 2 argocd",
		"expired 0",
		"revoked 2 kubectl-edit",
		"deleted 0",
	}
	c.eventually(func() error {
		if diff := cmp.Diff(want, s.told(t, "watched")); diff != "" {
			return fmt.Errorf("the story (-want +got):\n%s", diff)
		}
		return nil
	})
}

// observed waits until the status speaks of the newest spec.
func (c *cluster) observed(key *v1alpha1.APIKey) {
	c.Helper()
	c.eventually(func() error {
		if err := c.get(key); err != nil {
			return err
		}
		if key.Status.ObservedGeneration != key.Generation {
			return fmt.Errorf("generation %d is not observed", key.Generation)
		}
		return nil
	})
}

// TestEdits says what a line tells of a change.
func TestEditsAreNamed(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tc := range map[string]struct {
		before, after apikey.Record
		want          string
	}{
		"nothing":     {apikey.Record{Revision: 1}, apikey.Record{Revision: 2, HandedOver: true}, ""},
		"scopes":      {apikey.Record{Scopes: []string{"read"}}, apikey.Record{Scopes: []string{"read", "write"}}, "scopes: read → read write"},
		"no scopes":   {apikey.Record{Scopes: []string{"read"}}, apikey.Record{}, "scopes: read → none"},
		"plan":        {apikey.Record{Plan: "a"}, apikey.Record{Plan: "b"}, "plan: a → b"},
		"expiry":      {apikey.Record{}, apikey.Record{ExpiresAt: &at}, "expires: none → 2026-01-02T03:04:05Z"},
		"a successor": {apikey.Record{}, apikey.Record{ExpiresAt: &at, SupersededAt: &at}, ""},
		"an overlap":  {apikey.Record{SupersededAt: &at}, apikey.Record{ExpiresAt: &at, SupersededAt: &at}, "expires: none → 2026-01-02T03:04:05Z"},
		"metadata":    {apikey.Record{Metadata: map[string]string{"a": "1"}}, apikey.Record{Metadata: map[string]string{"a": "2", "b": "3"}}, "metadata: now a b"},
		"two":         {apikey.Record{Plan: "a", Scopes: []string{"x"}}, apikey.Record{}, "scopes: x → none; plan: a → none"},
	} {
		t.Run(name, func(t *testing.T) {
			field, got := edits(&tc.before, &tc.after)
			if got != tc.want || (field == nil) != (got == "") {
				t.Errorf("got %q of %s, want %q", got, field, tc.want)
			}
		})
	}
}

// TestWriter finds who set a field, and else who wrote an APIKey last, but for Keygate.
func TestWriter(t *testing.T) {
	entry := func(manager string, at int64, fields, subresource string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{
			Manager: manager, Time: &metav1.Time{Time: time.Unix(at, 0)}, FieldsV1: metav1.NewFieldsV1(fields), Subresource: subresource,
		}
	}
	key := &v1alpha1.APIKey{ObjectMeta: metav1.ObjectMeta{Generation: 2, ManagedFields: []metav1.ManagedFieldsEntry{
		entry("kubectl-create", 1, `{"f:spec":{"f:policyRef":{"f:name":{}},"f:scopes":{}}}`, ""),
		entry("argocd", 3, `{"f:spec":{"f:displayName":{}}}`, ""),
		entry("kubectl-edit", 2, `{"f:spec":{"f:state":{}}}`, ""),
		entry("kubectl-apikey", 3, `{"f:metadata":{"f:annotations":{"f:keygate.dev/collected":{}}},"f:spec":{"f:state":{}}}`, ""),
		entry(string(fieldOwner), 9, `{"f:spec":{"f:state":{}}}`, ""),
		entry("extauthz", 10, `{"f:status":{}}`, "status"),
	}}}
	for name, tc := range map[string]struct {
		field fieldpath.Path
		want  string
	}{
		"no field":            {nil, "argocd"},
		"nobody's field":      {serialField, "argocd"},
		"one's field":         {collectedField, "kubectl-apikey"},
		"the later of two":    {stateField, "kubectl-apikey"},
		"what is below it":    {fieldpath.MakePathOrDie("spec", "policyRef"), "kubectl-create"},
		"a field of one's":    {fieldpath.MakePathOrDie("spec", "scopes"), "kubectl-create"},
		"a name of another's": {fieldpath.MakePathOrDie("metadata", "scopes"), "argocd"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := editor(key, tc.field); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	kept, err := keepManagers(key.DeepCopy())
	if got := kept.(*v1alpha1.APIKey); err != nil || len(got.ManagedFields) != 4 || writer(got, stateField) != "kubectl-apikey" {
		t.Errorf("%v, %+v", err, got.ManagedFields)
	}
	key.Status.ObservedGeneration = 2
	if got := editor(key, stateField); got != "" {
		t.Errorf("nothing was edited, and %q did it", got)
	}
	if got := writer(&v1alpha1.APIKey{}, nil); got != "" {
		t.Errorf("nobody wrote it, and %q did", got)
	}
}
