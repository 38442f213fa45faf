package view

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/story"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// manifest is an APIKey in the middle of a rotation.
const manifest = `
metadata: {name: ci, namespace: acme, generation: 3, creationTimestamp: "2026-01-01T12:00:00Z"}
spec:
  policyRef: {name: stepsies, namespace: platform}
  displayName: "CI/CD \e[31mPipeline"
  description: nightly
  scopes: [read, admin]
  expiresAt: "2026-05-30T12:00:00Z"
  rotation: {serial: 2, every: 720h, overlap: 24h}
  delivery: {retain: Keep, secretName: ci-key}
  allowedCIDRs: ["203.0.113.0/24"]
  metadata: {team: acme, app: ci}
status:
  observedGeneration: 3
  hint: sk_ab12…
  environment: live
  scopes: [read]
  plan: business
  lastUsedAt: "2026-03-01T11:00:00Z"
  nextRotationAt: "2026-03-29T12:00:00Z"
  usage: {"0123456789abcdef": "2026-03-01T11:00:00Z"}
  conditions:
  - {type: Ready, status: "False", reason: ScopesNotGranted, message: "not granted: admin", observedGeneration: 3, lastTransitionTime: "2026-03-01T10:00:00Z"}
  - {type: Delivered, status: "True", reason: Delivered, message: "it is there", observedGeneration: 3, lastTransitionTime: "2026-02-27T12:00:00Z"}
  keys:
  - {id: "0123456789abcdef", hint: sk_old1…, serial: 1, state: Active, issuedAt: "2026-01-01T12:00:00Z", expiresAt: "2026-03-01T11:59:00Z"}
  - {id: "fedcba9876543210", hint: sk_ab12…, serial: 2, state: Active, issuedAt: "2026-02-27T12:00:00Z"}
`

// key reads the manifest.
func key(t testing.TB) *v1alpha1.APIKey {
	t.Helper()
	k := &v1alpha1.APIKey{}
	if err := yaml.UnmarshalStrict([]byte(manifest), k); err != nil {
		t.Fatal(err)
	}
	return k
}

func TestDescribe(t *testing.T) {
	var out bytes.Buffer
	events := []story.Entry{{Time: now.Add(-time.Hour), What: "Issued", Note: "key\r\n1 was issued"}}
	if err := Describe(&out, Paint{}, key(t), events, now); err != nil {
		t.Fatal(err)
	}
	want := `Name:           ci
Namespace:      acme
Display name:   CI/CD [31mPipeline
Description:    nightly
Policy:         platform/stepsies
State:          ScopesNotGranted
Because:        not granted: admin
Environment:    live
Scopes:         read
Not granted:    admin
Plan:           business
Allowed from:   203.0.113.0/24
Expires:        2026-05-30T12:00:00Z (in 90d)
Last used:      2026-03-01T11:00:00Z (60m ago)
Created:        2026-01-01T12:00:00Z (59d ago)
Metadata:       app=ci, team=acme
Delivery:       the Secret ci-key, kept
Rotation:       every 30d, the old token works on for 24h
Next rotation:  2026-03-29T12:00:00Z (in 28d)
Tokens:
  SERIAL  KEY ID            HINT      ISSUED   ENDS     LAST USED  STATE
  2       fedcba9876543210  sk_ab12…  2d ago   never    never      Active
  1       0123456789abcdef  sk_old1…  59d ago  60s ago  60m ago    Ended
Conditions:
  TYPE       STATUS  REASON            SINCE     MESSAGE
  Ready      False   ScopesNotGranted  120m ago  not granted: admin
  Delivered  True    Delivered         2d ago    it is there
Events:
  WHEN     WHAT    NOTE
  60m ago  Issued  key1 was issued
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

// TestDescribeNothing: a key that nobody has looked at yet.
func TestDescribeNothing(t *testing.T) {
	var out bytes.Buffer
	k := &v1alpha1.APIKey{ObjectMeta: metav1.ObjectMeta{Name: "new", Namespace: "acme", Generation: 1, CreationTimestamp: metav1.NewTime(now)}}
	k.Spec.PolicyRef.Name, k.Spec.SHA256 = "stepsies", strings.Repeat("a", 64)
	if err := Describe(&out, Paint{}, k, nil, now); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"Policy:     acme/stepsies\n", "State:      Judging\n", "Scopes:     <none>\n", "Last used:  never\n", "registered by its SHA-256\n", "Tokens:\n  <none>\n", "Conditions:\n  <none>\n", "Events:\n  <none>\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("there is no %q in\n%s", line, out.String())
		}
	}
}

func TestTable(t *testing.T) {
	minted := key(t)
	fresh := &v1alpha1.APIKey{ObjectMeta: metav1.ObjectMeta{Name: "new", Namespace: "beta", Generation: 1, CreationTimestamp: metav1.NewTime(now.Add(-time.Minute))}}
	fresh.Spec.PolicyRef.Name = "stepsies"
	var out bytes.Buffer
	printer := printers.NewTablePrinter(printers.PrintOptions{Wide: true, WithNamespace: true})
	if err := printer.PrintObj(Table([]v1alpha1.APIKey{*minted, *fresh}, now), &out); err != nil {
		t.Fatal(err)
	}
	want := `NAMESPACE   NAME   POLICY              STATE              SCOPES   PLAN       EXPIRES   LAST USED   AGE   HINT         ENVIRONMENT   LIVE TOKENS   DISPLAY NAME
acme        ci     platform/stepsies   ScopesNotGranted   read     business   in 90d    60m ago     59d   sk_ab12…     live          1             CI/CD [31mPipeline
beta        new    beta/stepsies       Judging            <none>   <none>     never     never       60s   <none>       <none>        0             <none>
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestFilter(t *testing.T) {
	const day = 24 * time.Hour
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(d)} }
	old := func(used *metav1.Time) func(*v1alpha1.APIKey) {
		return func(k *v1alpha1.APIKey) { k.CreationTimestamp, k.Status.LastUsedAt = *at(-200 * day), used }
	}
	for name, tc := range map[string]struct {
		filter Filter
		key    func(*v1alpha1.APIKey)
		want   bool
	}{
		"all":                    {Filter{}, func(*v1alpha1.APIKey) {}, true},
		"used long ago":          {Filter{Unused: 90 * day}, old(at(-90 * day)), true},
		"used since":             {Filter{Unused: 90 * day}, old(at(-90*day + time.Second)), false},
		"never used, old":        {Filter{Unused: 90 * day}, old(nil), true},
		"never used, new":        {Filter{Unused: 90 * day}, func(k *v1alpha1.APIKey) { k.CreationTimestamp = *at(-day) }, false},
		"unused, but revoked":    {Filter{Unused: 90 * day}, func(k *v1alpha1.APIKey) { old(nil)(k); k.Spec.State = v1alpha1.StateRevoked }, false},
		"expires soon":           {Filter{Expiring: 14 * day}, func(k *v1alpha1.APIKey) { k.Spec.ExpiresAt = at(14 * day) }, true},
		"expires later":          {Filter{Expiring: 14 * day}, func(k *v1alpha1.APIKey) { k.Spec.ExpiresAt = at(14*day + time.Second) }, false},
		"never expires":          {Filter{Expiring: 14 * day}, func(*v1alpha1.APIKey) {}, false},
		"expired":                {Filter{Expiring: 14 * day}, func(k *v1alpha1.APIKey) { k.Spec.ExpiresAt = at(0) }, false},
		"the policy's":           {Filter{Policy: "acme/p"}, func(k *v1alpha1.APIKey) { k.Spec.PolicyRef.Name = "p" }, true},
		"another policy's":       {Filter{Policy: "acme/p"}, func(k *v1alpha1.APIKey) { k.Spec.PolicyRef = v1alpha1.PolicyReference{Name: "p", Namespace: "x"} }, false},
		"unused and to end soon": {Filter{Unused: day, Expiring: day}, func(k *v1alpha1.APIKey) { old(nil)(k); k.Spec.ExpiresAt = at(time.Hour) }, true},
	} {
		k := &v1alpha1.APIKey{ObjectMeta: metav1.ObjectMeta{Namespace: "acme", CreationTimestamp: *at(-300 * day)}}
		tc.key(k)
		tc.filter.Now = now
		if got := tc.filter.Fits(k); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestPaint: there are colours on a terminal only, and not with NO_COLOR.
func TestPaint(t *testing.T) {
	if got := (Paint{on: true}).Word(Bad, "no"); got != "\x1b[31mno\x1b[0m" {
		t.Errorf("%q", got)
	}
	var out bytes.Buffer
	if got := NewPaint(&out).Word(Bad, "no"); got != "no" {
		t.Errorf("what is no terminal gets %q", got)
	}
}

// TestClean: what people wrote does nothing to a terminal.
func TestClean(t *testing.T) {
	if got := Clean("a\x1b[2Jb\r\nc\u202ed\u009bé…"); got != "a[2Jbcdé…" {
		t.Errorf("%q", got)
	}
}
