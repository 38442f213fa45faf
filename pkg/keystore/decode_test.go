package keystore

import (
	"bytes"
	"log/slog"
	"net/netip"
	stdreflect "reflect" // the package has a function of that name
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"

	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/keysecret"
)

// TestRejections spoils a record's Secret in each way, and checks that it is
// counted every time, told once, and that nothing secret is told.
func TestRejections(t *testing.T) {
	d, other := digest(1), digest(2)
	for name, tc := range map[string]struct {
		spoil        func(*corev1.Secret)
		kind, reason string
	}{
		"content":         {func(c *corev1.Secret) { c.Data["record"] = []byte("{}") }, kindRecord, rejectSeal},
		"seal version":    {func(c *corev1.Secret) { c.Data["seal"][0] = '7' }, kindRecord, rejectSealVersion},
		"name":            {func(c *corev1.Secret) { c.Name = keysecret.RecordName(other) }, kindRecord, rejectSeal},
		"longer name":     {func(c *corev1.Secret) { c.Name += "0" }, kindRecord, rejectName},
		"type":            {func(c *corev1.Secret) { c.Type = corev1.SecretTypeOpaque }, kindOther, rejectName},
		"name and type":   {func(c *corev1.Secret) { c.Name, c.Type = "x-"+c.Name, corev1.SecretTypeOpaque }, kindOther, rejectType},
		"policy's type":   {func(c *corev1.Secret) { c.Type = keysecret.TypePolicy }, kindPolicy, rejectName},
		"policy's guise":  {func(c *corev1.Secret) { c.Name, c.Type = "policy-"+c.Name, keysecret.TypePolicy }, kindPolicy, rejectSeal},
		"version":         {func(c *corev1.Secret) { c.ResourceVersion = "07" }, kindRecord, rejectVersion},
		"no version":      {func(c *corev1.Secret) { c.ResourceVersion = "" }, kindRecord, rejectVersion},
		"version too big": {func(c *corev1.Secret) { c.ResourceVersion = "18446744073709551616" }, kindRecord, rejectVersion},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newUnfed(t, 1)
			var log bytes.Buffer
			s.feed.decoder.log = slog.New(slog.NewTextHandler(&log, nil))
			secret := at(seal(t, s, d, apikey.Active), 5)
			tc.spoil(secret)
			for range 3 {
				event(t, s.feed.Update, secret)
			}
			if got := testutil.ToFloat64(s.metrics.rejections.WithLabelValues(tc.kind, tc.reason)); got != 3 {
				t.Errorf("counted %v under %s/%s, want 3", got, tc.kind, tc.reason)
			}
			if lines := strings.Count(log.String(), "\n"); lines != 1 {
				t.Errorf("%d lines, want 1:\n%s", lines, &log)
			}
			for _, secret := range []string{d.String()[16:], other.String()[16:], "stepsies", string(secret.Data["seal"])} {
				if strings.Contains(log.String(), secret) {
					t.Errorf("the log says %q:\n%s", secret, &log)
				}
			}
			if s.feed.index.len() != 0 {
				t.Error("it is in the index")
			}
		})
	}
}

// TestRejectionsAreBounded makes more unsound objects than are remembered.
func TestRejectionsAreBounded(t *testing.T) {
	r := newRejections()
	for n := range uint64(3 * rejectionLimit) {
		if !r.add(digest(int(n)).String(), 1) {
			t.Fatal("a new object was known")
		}
	}
	if len(r.versions) > rejectionLimit {
		t.Errorf("%d objects remembered, want at most %d", len(r.versions), rejectionLimit)
	}
}

// TestCompact checks what is kept of a record, and that it is shared.
func TestCompact(t *testing.T) {
	n := newInterner()
	at := time.Unix(2, 0)
	full := record(digest(1))
	full.AllowedCIDRs, full.Rotation = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, 3
	full.Metadata, full.Plan = map[string]string{"team": "acme"}, "business"
	full.ExpiresAt, full.RetiredAt, full.DeliveredAt, full.SupersededAt, full.HandedOver = &at, &at, &at, &at, true
	for i, v := 0, stdreflect.ValueOf(*full); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set: would a new member reach the decision?", v.Type().Field(i).Name)
		}
	}
	want := *full
	want.Hint, want.DeliveryUID, want.Revision, want.Rotation = "", "", 0, 0
	want.IssuedAt, want.DeliveredAt, want.SupersededAt, want.HandedOver = time.Time{}, nil, nil, false
	got := n.compact(full, 5)
	if diff := cmp.Diff(want, got.record, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
	second := record(digest(2))
	second.Scopes = []string{strings.Clone("read"), strings.Clone("write")}
	if shared := n.compact(second, 6); &shared.record.Scopes[0] != &got.record.Scopes[0] {
		t.Error("equal scopes are not shared")
	}
	if empty := n.compact(&apikey.Record{}, 7); empty.record.Scopes != nil {
		t.Error("no scopes became some")
	}
	for i := range 3 * internLimit {
		d := digest(i)
		n.compact(&apikey.Record{Policy: apikey.Ref{UID: d.ID()}, Scopes: []string{d.ID()}}, 8)
	}
	if len(n.strings) > internLimit || len(n.lists) > internLimit {
		t.Errorf("%d strings and %d lists are held, want at most %d", len(n.strings), len(n.lists), internLimit)
	}
}
