package reconcile

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
)

const day = 24 * time.Hour

// atMostFor is a grant for keys that live so long at the most.
func atMostFor(d time.Duration) v1alpha1.Grant {
	return v1alpha1.Grant{MaxTTL: &metav1.Duration{Duration: d}}
}

// TestDecideLife: before a token was issued its life would begin at noon; that of the
// record began an hour before.
func TestDecideLife(t *testing.T) {
	anyEnd := v1alpha1.Grant{RequireExpiry: true}
	type want struct {
		// before and after a token was issued.
		before, after string
		state         apikey.State
		// wake before it was issued, after noon; 0: never.
		wake time.Duration
		// says is a part of both messages, saysAfter of the one after.
		says, saysAfter string
	}
	granted := func(wake time.Duration) want {
		return want{before: "Pending", after: "Active", state: "Active", wake: wake}
	}
	refused := func(wake time.Duration, says, after string) want {
		return want{"LifetimeNotGranted", "LifetimeNotGranted", "NotGranted", wake, says, after}
	}
	for name, test := range map[string]struct {
		grants []v1alpha1.Grant
		end    time.Duration // after noon; 0: none
		want   want
	}{
		"no end, none needed":     {[]v1alpha1.Grant{{}}, 0, granted(0)},
		"an end, none needed":     {[]v1alpha1.Grant{{}}, day, granted(day)},
		"any end is needed":       {[]v1alpha1.Grant{anyEnd}, 100 * day, granted(100 * day)},
		"no end, one needed":      {[]v1alpha1.Grant{anyEnd}, 0, refused(0, "grants the namespace tenant only keys that expire: set spec.expiresAt, or ask", "")},
		"no end, a near one":      {[]v1alpha1.Grant{atMostFor(day)}, 0, refused(0, "only keys that live 24h at the most: set spec.expiresAt", "2026-06-02T11:00:00Z or earlier")},
		"as long as is granted":   {[]v1alpha1.Grant{atMostFor(day)}, day - time.Hour, granted(day - time.Hour)},
		"an hour since the issue": {[]v1alpha1.Grant{atMostFor(day)}, day, want{"Pending", "LifetimeNotGranted", "NotGranted", day, "", "live 24h at the most"}},
		"a minute too long":       {[]v1alpha1.Grant{atMostFor(90 * time.Minute)}, 91 * time.Minute, refused(time.Minute, "live 1h30m at the most", "12:30:00Z or earlier")},
		"half a second too long":  {[]v1alpha1.Grant{atMostFor(day)}, day + time.Second/2, refused(time.Second, "live 24h at the most", "")},
		"another grant is longer": {[]v1alpha1.Grant{atMostFor(time.Hour), atMostFor(2 * day)}, day, granted(day)},
		"expired long ago":        {[]v1alpha1.Grant{atMostFor(day)}, -day, want{"Expired", "Expired", "Active", 0, "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			key := aKey()
			if test.end != 0 {
				key = aKey(expires(noon.Add(test.end)))
			}
			compiled := plannedPolicy(t, "", test.grants...)
			first := decide(&facts{key: key, policy: compiled, now: noon})
			later := decide(&facts{key: key, policy: compiled, now: noon, ledger: naming(1), records: []*apikey.Record{aRecord(1)}})
			got := want{before: first.ready.Reason, after: later.ready.Reason, state: later.elected.State, says: test.want.says, saysAfter: test.want.saysAfter}
			if !first.wake.IsZero() {
				got.wake = first.wake.Sub(noon)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if first.mint != (test.want.before == "Pending") {
				t.Errorf("mint: %t", first.mint)
			}
			if !strings.Contains(first.ready.Message, test.want.says) || !strings.Contains(later.ready.Message, test.want.says) {
				t.Errorf("neither says %q: %s; %s", test.want.says, first.ready.Message, later.ready.Message)
			}
			if !strings.Contains(later.ready.Message, test.want.saysAfter) {
				t.Errorf("does not say %q: %s", test.want.saysAfter, later.ready.Message)
			}
			if refused := test.want.state == apikey.NotGranted; refused && (later.elected.Scopes != nil || later.elected.Plan != "") {
				t.Errorf("record: %+v", later.elected)
			}
		})
	}
}

// What is said of a life before the token is issued does not change as time goes by:
// each change would be written, and looked at again.
func TestRefusedLifeIsStable(t *testing.T) {
	f := facts{key: aKey(expires(noon.Add(9 * day))), policy: plannedPolicy(t, "", atMostFor(day)), now: noon}
	before := decide(&f).ready
	f.now = noon.Add(time.Minute + time.Second)
	if diff := cmp.Diff(before, decide(&f).ready); diff != "" {
		t.Error(diff)
	}
}

func TestHours(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"2160h": 90 * day, "1h30m": 90 * time.Minute, "10m": 10 * time.Minute, "1h0m5s": time.Hour + 5*time.Second, "30s": 30 * time.Second, "10s": 10 * time.Second,
	} {
		if got := hours(d); got != want {
			t.Errorf("%s is written %s, want %s", d, got, want)
		}
	}
}

func TestDecideExpiringSoon(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*v1alpha1.APIKeySpec)
		reason string // "": no condition
		wake   time.Duration
	}{
		"no end":                     {func(*v1alpha1.APIKeySpec) {}, "", day - time.Hour},
		"an end far away":            {expires(noon.Add(2*day + time.Minute)), v1alpha1.ReasonExpiresLater, time.Minute},
		"from that very moment":      {expires(noon.Add(2 * day)), v1alpha1.ReasonExpiresSoon, day - time.Hour},
		"until the end":              {expires(noon.Add(time.Second)), v1alpha1.ReasonExpiresSoon, time.Second},
		"at the end":                 {expires(noon), v1alpha1.ReasonExpired, day - time.Hour},
		"suspended keys end, too":    {func(s *v1alpha1.APIKeySpec) { state(v1alpha1.StateSuspended)(s); expires(noon.Add(day))(s) }, v1alpha1.ReasonExpiresSoon, day - time.Hour},
		"revoked keys ended already": {func(s *v1alpha1.APIKeySpec) { state(v1alpha1.StateRevoked)(s); expires(noon.Add(3 * time.Hour))(s) }, "", 3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(&facts{key: aKey(test.change), policy: aPolicy(t, "read"), soon: 2 * day, now: noon, ledger: naming(1), records: []*apikey.Record{aRecord(1)}})
			got := metav1.Condition{}
			if len(d.expiring) == 1 {
				got = d.expiring[0]
			}
			if got.Reason != test.reason || (got.Status == metav1.ConditionTrue) != (test.reason == v1alpha1.ReasonExpiresSoon) || (got.Message == "") != (test.reason == "") {
				t.Errorf("condition: %+v", d.expiring)
			}
			if wake := d.wake.Sub(noon); wake != test.wake {
				t.Errorf("it wakes after %s, want %s", wake, test.wake)
			}
		})
	}
}

// A first token waits until its life is granted; a grant that is tightened ends what
// was issued, until it is granted again. A registered key is no exception.
func TestLifeIsGranted(t *testing.T) {
	c := newCluster(t)
	c.start()
	grant := func(maxTTL string) {
		c.patch(c.policy, fmt.Sprintf(`{"spec":{"grants":[{"namespaces":{"from":"All"},"maxTTL":%q}]}}`, maxTTL))
	}
	grant("48h")
	c.eventually(func() error { return c.inForce(2) })
	for name, change := range map[string]func(*v1alpha1.APIKeySpec){"minted": func(*v1alpha1.APIKeySpec) {}, "registered": registering(elsewhere())} {
		key := c.apply(c.newKey(name, change)).(*v1alpha1.APIKey)
		c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonLifetimeNotGranted)
		must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionDelivered, v1alpha1.ReasonNothingIssued))
		if records := c.records(string(key.UID)); len(records) > 0 {
			t.Errorf("%d records", len(records))
		}
		c.patch(key, ends(time.Now().Add(day)))
		c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
		grant("1h")
		c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonLifetimeNotGranted)
		c.recordBecomes(key, inState(apikey.NotGranted))
		grant("48h")
		c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
		c.recordBecomes(key, inState(apikey.Active))
	}
}

// A life that is too long becomes short enough as time goes by; nobody has to ask.
func TestLifeIsGrantedInTime(t *testing.T) {
	c := newCluster(t)
	c.start()
	c.patch(c.policy, `{"spec":{"grants":[{"namespaces":{"from":"All"},"maxTTL":"1h"}]}}`)
	c.eventually(func() error { return c.inForce(2) })
	key := c.apply(c.newKey("early")).(*v1alpha1.APIKey)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonLifetimeNotGranted)
	c.patch(key, ends(time.Now().Add(time.Hour+3*time.Second)))
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	if life := key.Spec.ExpiresAt.Sub(c.record(key).IssuedAt); life > time.Hour {
		t.Errorf("it lives %s", life)
	}
}

// The ExpiringSoon condition turns at its moment, by a timer; who follows Events or
// the metric is told once.
func TestExpiringSoon(t *testing.T) {
	c := newCluster(t)
	registry := prometheus.NewPedanticRegistry()
	c.start(func(o *Options) { o.ExpiringSoon, o.Registerer = time.Hour, registry })
	forever := c.issued("forever")
	if got := meta.FindStatusCondition(forever.Status.Conditions, v1alpha1.ConditionExpiringSoon); got != nil {
		t.Errorf("a key without an end: %+v", got)
	}
	key := c.issued("ending", expires(time.Now().Add(day)))
	must(t, hasReason(key.Status.Conditions, v1alpha1.ConditionExpiringSoon, v1alpha1.ReasonExpiresLater))
	c.patch(key, ends(time.Now().Add(time.Hour+3*time.Second)))
	c.becomes(key, v1alpha1.ConditionExpiringSoon, v1alpha1.ReasonExpiresSoon)
	if time.Until(key.Spec.ExpiresAt.Time) > time.Hour {
		t.Error("it turned before its time")
	}
	c.hasEvents(key, eventExpiringSoon)
	if got := metric(t, registry, "keygate_keys_expiring_soon"); got != 1 {
		t.Errorf("%v keys are counted", got)
	}
	c.patch(key, `{"spec":{"metadata":{"seen":"yes"}}}`)
	c.recordBecomes(key, func(r *apikey.Record) bool { return r.Metadata["seen"] == "yes" })
	c.patch(key, `{"spec":{"expiresAt":"2099-01-01T00:00:00Z"}}`)
	c.becomes(key, v1alpha1.ConditionExpiringSoon, v1alpha1.ReasonExpiresLater)
	if told := c.told(key, eventExpiringSoon); told != 1 {
		t.Errorf("told %d times", told)
	}
	if got := metric(t, registry, "keygate_keys_expiring_soon"); got != 0 {
		t.Errorf("%v keys are counted", got)
	}
	c.patch(key, ends(time.Now().Add(time.Minute)))
	c.becomes(key, v1alpha1.ConditionExpiringSoon, v1alpha1.ReasonExpiresSoon)
	must(t, c.admin.Delete(t.Context(), key))
	c.gone(key)
	c.eventually(func() error {
		if got := metric(t, registry, "keygate_keys_expiring_soon"); got != 0 {
			return fmt.Errorf("%v keys are counted", got)
		}
		return nil
	})
}

// told is how many Events with a reason there are about an APIKey.
func (c *cluster) told(key *v1alpha1.APIKey, reason string) (n int) {
	c.Helper()
	list := &corev1.EventList{}
	must(c.TB, c.admin.List(c.Context(), list))
	for _, e := range list.Items {
		if e.InvolvedObject.UID == key.UID && e.Reason == reason {
			n += max(1, int(e.Count))
			if e.Series != nil {
				n += int(e.Series.Count) - 1
			}
		}
	}
	return n
}
