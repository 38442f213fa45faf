package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/keysecret"
)

// metric is the value of a counter, or the sum of a gauge's.
func metric(t *testing.T, registry *prometheus.Registry, name string) (sum float64) {
	t.Helper()
	families, err := registry.Gather()
	must(t, err)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.Metric {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// TestRights: what the shipped identities may, and may not.
func TestRights(t *testing.T) {
	c := newCluster(t)
	controller, extauthz := c.as(c.server.Controller()), c.as(c.server.Extauthz())
	for name, test := range map[string]struct {
		who                               client.Client
		verb, group, resource, sub, where string
		named                             string
		want                              bool
	}{
		"the controller reads no tenant's Secret":              {controller, "get", "", "secrets", "", c.namespace, "", false},
		"the controller lists no tenant's Secrets":             {controller, "list", "", "secrets", "", c.namespace, "", false},
		"the controller watches no tenant's Secrets":           {controller, "watch", "", "secrets", "", c.namespace, "", false},
		"the controller updates no tenant's Secret":            {controller, "update", "", "secrets", "", c.namespace, "", false},
		"the controller deletes no tenant's Secrets at once":   {controller, "deletecollection", "", "secrets", "", c.namespace, "", false},
		"the controller lists no Secrets everywhere":           {controller, "list", "", "secrets", "", "", "", false},
		"the controller lists no Secrets beside the root":      {controller, "list", "", "secrets", "", systemNamespace, "", false},
		"the controller reads no other Secret beside the root": {controller, "get", "", "secrets", "", systemNamespace, "tls", false},
		"the controller reads the root":                        {controller, "get", "", "secrets", "", systemNamespace, keysecret.RootName, true},
		"the controller changes no APIKeyPolicy":               {controller, "patch", "keygate.dev", "apikeypolicies", "", c.namespace, "", false},
		"the controller deletes no APIKey":                     {controller, "delete", "keygate.dev", "apikeys", "", c.namespace, "", false},
		"the controller watches the records":                   {controller, "watch", "", "secrets", "", keysNamespace, "", true},
		"extauthz watches the records":                         {extauthz, "watch", "", "secrets", "", keysNamespace, "", true},
		"extauthz writes no record":                            {extauthz, "update", "", "secrets", "", keysNamespace, "", false},
		"extauthz makes no record":                             {extauthz, "create", "", "secrets", "", keysNamespace, "", false},
		"extauthz reads the root":                              {extauthz, "watch", "", "secrets", "", systemNamespace, keysecret.RootName, true},
		"extauthz reads no other Secret beside the root":       {extauthz, "get", "", "secrets", "", systemNamespace, "tls", false},
		"extauthz reads no tenant's Secret":                    {extauthz, "get", "", "secrets", "", c.namespace, "", false},
		"extauthz reads no APIKey":                             {extauthz, "get", "keygate.dev", "apikeys", "", c.namespace, "", false},
		"extauthz lists no APIKeys":                            {extauthz, "list", "keygate.dev", "apikeys", "", "", "", false},
		"extauthz changes no APIKey":                           {extauthz, "patch", "keygate.dev", "apikeys", "", c.namespace, "", false},
		"extauthz writes the last use":                         {extauthz, "patch", "keygate.dev", "apikeys", "status", c.namespace, "", true},
		"extauthz writes no status of policies":                {extauthz, "patch", "keygate.dev", "apikeypolicies", "status", c.namespace, "", false},
		"extauthz takes turns":                                 {extauthz, "update", "coordination.k8s.io", "leases", "", systemNamespace, "keygate-extauthz-usage", true},
		"extauthz touches no other Lease":                      {extauthz, "update", "coordination.k8s.io", "leases", "", systemNamespace, "keygate-controller", false},
		"extauthz makes no Lease":                              {extauthz, "create", "coordination.k8s.io", "leases", "", systemNamespace, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: test.verb, Group: test.group, Resource: test.resource, Subresource: test.sub, Namespace: test.where, Name: test.named,
			}}}
			must(t, test.who.Create(t.Context(), review))
			if review.Status.Allowed != test.want {
				t.Errorf("allowed: %t", review.Status.Allowed)
			}
		})
	}
}

// TestFence: of what RBAC lets the controller write, the admission policy refuses
// all that is no delivery Secret of an APIKey.
func TestFence(t *testing.T) {
	c := newCluster(t)
	controller := c.as(c.server.Controller())
	key := c.apply(c.newKey("owner")).(*v1alpha1.APIKey)
	other := c.apply(c.newKey("other")).(*v1alpha1.APIKey)
	secret := func(name string, kind corev1.SecretType, owners ...metav1.OwnerReference) *corev1.Secret {
		return &corev1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}, ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: name, OwnerReferences: owners}, Type: kind}
	}
	ours, theirs := controllerRef(key), controllerRef(other)
	notController := ours
	notController.Controller = nil
	pod := ours
	pod.APIVersion, pod.Kind = "v1", "Pod"
	impostor := ours
	impostor.APIVersion = "keygate.dev.example.com/v1"
	for name, test := range map[string]struct {
		present *corev1.Secret // made by the tenant before
		write   func(client.Client) error
		allowed bool
	}{
		"makes a delivery Secret":                {write: create(secret("a", keysecret.TypeToken, ours)), allowed: true},
		"makes one of no type":                   {write: create(secret("b", "", ours))},
		"makes one without an owner":             {write: create(secret("c", keysecret.TypeToken))},
		"makes one whose owner is no controller": {write: create(secret("d", keysecret.TypeToken, notController))},
		"makes one of a Pod":                     {write: create(secret("e", keysecret.TypeToken, pod))},
		"makes one of another group's APIKey":    {write: create(secret("f", keysecret.TypeToken, impostor))},
		"makes a service account's token":        {write: create(secret("g", corev1.SecretTypeServiceAccountToken, ours))},
		"makes a plain one in the system namespace": {write: func(w client.Client) error {
			s := secret("h", "")
			s.Namespace = systemNamespace
			return w.Create(t.Context(), s)
		}},
		"applies over its own":                 {present: secret("i", keysecret.TypeToken, ours), write: applied(secret("i", keysecret.TypeToken, ours)), allowed: true},
		"applies over a plain one":             {present: secret("j", ""), write: applied(secret("j", keysecret.TypeToken, ours))},
		"applies over an unowned one":          {present: secret("k", keysecret.TypeToken), write: applied(secret("k", keysecret.TypeToken, ours))},
		"applies over another APIKey's":        {present: secret("l", keysecret.TypeToken, theirs), write: applied(secret("l", keysecret.TypeToken, ours))},
		"takes the owner off":                  {present: secret("m", keysecret.TypeToken, ours), write: merged(secret("m", ""), `{"metadata":{"ownerReferences":null}}`)},
		"gives it to another APIKey":           {present: secret("n", keysecret.TypeToken, ours), write: merged(secret("n", ""), `{"metadata":{"ownerReferences":[{"apiVersion":"keygate.dev/v1alpha1","kind":"APIKey","name":"other","uid":"`+string(other.UID)+`","controller":true}]}}`)},
		"writes a plain one":                   {present: secret("o", ""), write: merged(secret("o", ""), `{"data":{"password":"eA=="}}`)},
		"deletes its own":                      {present: secret("p", keysecret.TypeToken, ours), write: deleted(secret("p", "")), allowed: true},
		"deletes a plain one":                  {present: secret("q", ""), write: deleted(secret("q", ""))},
		"deletes one of our type, but unowned": {present: secret("r", keysecret.TypeToken), write: deleted(secret("r", ""))},
	} {
		t.Run(name, func(t *testing.T) {
			if test.present != nil {
				c.apply(test.present.DeepCopy())
			}
			err := test.write(controller)
			if test.allowed != (err == nil) {
				t.Errorf("got %v", err)
			}
			if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsInvalid(err) {
				t.Errorf("refused by something else: %v", err)
			}
		})
	}
}

// TestFenceOfAPIKeys: of an APIKey, the controller changes its own finalizer only.
func TestFenceOfAPIKeys(t *testing.T) {
	c := newCluster(t)
	controller := c.as(c.server.Controller())
	for name, test := range map[string]struct {
		patch   string
		allowed bool
	}{
		"puts its finalizer on":              {`{"metadata":{"finalizers":["example.com/other","keygate.dev/records"]}}`, true},
		"takes its finalizer off":            {`{"metadata":{"finalizers":["example.com/other"]}}`, true},
		"takes another's off":                {`{"metadata":{"finalizers":["keygate.dev/records"]}}`, false},
		"takes all off":                      {`{"metadata":{"finalizers":null}}`, false},
		"asks for more scopes":               {`{"spec":{"scopes":["read","admin"]}}`, false},
		"brings a suspended key back":        {`{"spec":{"state":"Active"}}`, false},
		"sets a label":                       {`{"metadata":{"labels":{"a":"b"}}}`, false},
		"sets an annotation":                 {`{"metadata":{"annotations":{"a":"b"}}}`, false},
		"makes something the owner":          {`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"x","uid":"x"}]}}`, false},
		"its finalizer, and a scope besides": {`{"metadata":{"finalizers":["example.com/other","keygate.dev/records"]},"spec":{"scopes":["admin"]}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			c.eventually(func() error { // the first may come before the policy is enforced
				key := c.newKey("", state(v1alpha1.StateSuspended))
				key.GenerateName, key.Finalizers = "key-", []string{"example.com/other"}
				err := controller.Patch(t.Context(), c.apply(key), mergePatch(test.patch))
				if test.allowed != (err == nil) || err != nil && !apierrors.IsForbidden(err) {
					return fmt.Errorf("got %v", err)
				}
				return nil
			})
		})
	}
}

// as is a client under another identity.
func (c *cluster) as(config *rest.Config) client.Client {
	c.Helper()
	other, err := client.New(config, client.Options{Scheme: c.admin.Scheme()})
	must(c.TB, err)
	return other
}

func create(s *corev1.Secret) func(client.Client) error {
	return func(w client.Client) error { return w.Create(context.Background(), s) }
}

func applied(s *corev1.Secret) func(client.Client) error {
	return func(w client.Client) error {
		body, err := json.Marshal(s)
		if err != nil {
			return err
		}
		return w.Patch(context.Background(), s, client.RawPatch(types.ApplyPatchType, body), fieldOwner, client.ForceOwnership)
	}
}

func merged(s *corev1.Secret, patch string) func(client.Client) error {
	return func(w client.Client) error { return w.Patch(context.Background(), s, mergePatch(patch)) }
}

func deleted(s *corev1.Secret) func(client.Client) error {
	return func(w client.Client) error { return w.Delete(context.Background(), s) }
}

// TestRoot: the root Secret is made once, and never again once it counts.
func TestRoot(t *testing.T) {
	c := newCluster(t)
	stop := c.start()
	key := c.issued("keyed")
	stop()
	root := &corev1.Secret{}
	name := client.ObjectKey{Namespace: systemNamespace, Name: keysecret.RootName}
	must(t, c.admin.Get(t.Context(), name, root))
	if root.Type != keysecret.TypeRoot || len(root.Data["pepper-1"]) != 32 || len(root.Data["seal-1"]) != 32 || len(root.Data) != 2 {
		t.Errorf("root Secret of type %s with %d members", root.Type, len(root.Data))
	}
	must(t, c.admin.Delete(t.Context(), root))

	options := Options{Config: c.server.Controller(), Log: slog.New(slog.DiscardHandler)}
	_, err := New(t.Context(), options)
	if !errors.Is(err, errRootLost) || !strings.Contains(err.Error(), "restore it") {
		t.Errorf("got %v, want %v", err, errRootLost)
	}
	if err := c.admin.Get(t.Context(), name, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("the root Secret: %v", err)
	}

	// Another one in its place makes no key anew: the records are not its own.
	c.apply(keysecret.NewRootSecret(systemNamespace))
	stop = c.start()
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonRecordInvalid)
	stop()
	must(t, c.admin.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: keysecret.RootName}}))

	c.apply(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: keysecret.RootName}, Type: root.Type, Data: root.Data})
	c.start()
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	must(t, c.oneLiveToken(key))
}

// TestRootRace: of many first starts at once, one makes the root and all use it.
func TestRootRace(t *testing.T) {
	c := newCluster(t)
	controller := c.as(c.server.Controller())
	type result struct {
		root *keysecret.Root
		err  error
	}
	results := make(chan result)
	for range 8 {
		go func() {
			root, err := (&rootStore{controller, systemNamespace, keysNamespace}).load(t.Context())
			results <- result{root, err}
		}()
	}
	want, _ := (<-results).root.Peppers.Sum([]byte("token"))
	for range 7 {
		got := <-results
		must(t, got.err)
		if digest, _ := got.root.Peppers.Sum([]byte("token")); digest != want {
			t.Error("two roots")
		}
	}
}

// TestOneBadObject: what the controller cannot use stalls nobody else.
func TestOneBadObject(t *testing.T) {
	c := newCluster(t)
	c.apply(keysecret.NewRootSecret(systemNamespace))
	for _, data := range []map[string][]byte{nil, {"record": []byte("{")}, {"seal": []byte("9:00"), "ledger": []byte("{}"), "record": []byte("{}")}} {
		for _, kind := range []corev1.SecretType{keysecret.TypeRecord, keysecret.TypeLedger, keysecret.TypePolicy, keysecret.TypeToken, ""} {
			c.apply(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: keysNamespace, GenerateName: "junk-"}, Type: kind, Data: data})
			c.apply(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: keysNamespace, GenerateName: keysecret.LedgerName("")}, Type: kind, Data: data})
		}
	}
	inKeys := c.newKey("misplaced")
	inKeys.Namespace = keysNamespace
	c.apply(inKeys)
	registry := prometheus.NewPedanticRegistry()
	c.start(func(o *Options) { o.Registerer = registry })
	c.issued("fine")
	c.becomes(inKeys, v1alpha1.ConditionReady, v1alpha1.ReasonDeliveryFailed)
	if minted := metric(t, registry, "keygate_mints_total"); minted != 1 {
		t.Errorf("%v mints", minted)
	}
	if keys := metric(t, registry, "keygate_apikeys"); keys != 2 {
		t.Errorf("%v keys are counted", keys)
	}
}

// TestDeliveryFailed: a quota refuses the Secret, the message says so, and the key
// is issued once there is room.
func TestDeliveryFailed(t *testing.T) {
	c := newCluster(t)
	c.start()
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "none"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/secrets": resource.MustParse("0")}}}
	c.apply(quota)
	quota.Status.Hard, quota.Status.Used = quota.Spec.Hard, quota.Spec.Hard
	must(t, c.admin.Status().Update(t.Context(), quota))
	key := c.apply(c.newKey("crowded")).(*v1alpha1.APIKey)
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonDeliveryFailed)
	if message := key.Status.Conditions[0].Message; !strings.Contains(message, "quota") {
		t.Errorf("message: %s", message)
	}
	if records := c.records(string(key.UID)); len(records) != 0 {
		t.Errorf("%d records are left", len(records))
	}
	must(t, c.admin.Delete(t.Context(), quota))
	c.becomes(key, v1alpha1.ConditionReady, v1alpha1.ReasonActive)
	must(t, c.oneLiveToken(key))
}
