package policy_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/pkg/apikey"
	"keygate.dev/keygate/pkg/policy"
)

// sampleFile is what a file of config/samples holds.
type sampleFile struct {
	// labels maps namespace → its labels.
	labels map[string]map[string]string
	policy *v1alpha1.APIKeyPolicy
	keys   []v1alpha1.APIKey
}

// readSample reads a file of config/samples, strictly.
func readSample(tb testing.TB, name string) *sampleFile {
	tb.Helper()
	data, err := os.ReadFile("../../config/samples/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	s := &sampleFile{labels: map[string]map[string]string{}}
	for _, document := range bytes.Split(data, []byte("\n---\n")) {
		head := &metav1.PartialObjectMetadata{}
		if err := yaml.Unmarshal(document, head); err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		switch head.Kind {
		case "Namespace":
			s.labels[head.Name] = head.Labels
		case "APIKeyPolicy":
			s.policy = &v1alpha1.APIKeyPolicy{}
			err = yaml.UnmarshalStrict(document, s.policy)
		case "APIKey":
			s.keys = append(s.keys, v1alpha1.APIKey{})
			err = yaml.UnmarshalStrict(document, &s.keys[len(s.keys)-1])
		default:
			tb.Fatalf("%s holds a %q", name, head.Kind)
		}
		if err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
	}
	return s
}

// sample compiles the policy of a file of config/samples, as it is before the API
// server fills in defaults.
func sample(tb testing.TB, name string) *policy.Policy {
	tb.Helper()
	object := readSample(tb, name).policy
	if object == nil {
		tb.Fatalf("%s has no APIKeyPolicy", name)
	}
	p, err := policy.Compile(&policy.Source{
		Namespace: object.Namespace, Name: object.Name, UID: "a-uid", Created: time.Unix(1, 0),
		ClaimsHosts: true, Spec: object.Spec,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// The endpoint table of the Stepsies guide, each row with each scope.
func TestStepsiesEndpoints(t *testing.T) {
	p := sample(t, "stepsies.yaml")
	for endpoint, lets := range map[[2]string][3]bool{ // read, write, admin
		{"GET", "/v1/stepsies"}:                 {true, false, true},
		{"GET", "/v1/stepsies/42"}:              {true, false, true},
		{"POST", "/v1/stepsies"}:                {false, true, true},
		{"PATCH", "/v1/stepsies/42"}:            {false, true, true},
		{"DELETE", "/v1/stepsies/42"}:           {false, true, true},
		{"POST", "/v1/stepsies/42/publish"}:     {false, true, true},
		{"POST", "/v1/stepsies/42/unpublish"}:   {false, true, true},
		{"GET", "/stepsies"}:                    {},
		{"HEAD", "/v1/stepsies"}:                {},
		{"GET", "/v1/stepsies/"}:                {},
		{"GET", "/v1/stepsies/42/publish"}:      {},
		{"PUT", "/v1/stepsies/42"}:              {},
		{"GET", "/v1/users"}:                    {},
		{"GET", "/v1"}:                          {},
		{"POST", "/v1/stepsies/42/publish/now"}: {},
	} {
		t.Run(endpoint[0]+" "+endpoint[1], func(t *testing.T) {
			rule := p.Match(endpoint[0], endpoint[1])
			if rule == nil {
				if lets != [3]bool{} {
					t.Fatal("no rule")
				}
				return
			}
			var got [3]bool
			for i, scope := range []string{"read", "write", "admin"} {
				got[i] = rule.Permits(p.ScopeSet([]string{scope}))
			}
			if diff := cmp.Diff(lets, got); diff != "" {
				t.Errorf("read, write, admin (-want +got):\n%s", diff)
			}
			if rule.Permits(p.ScopeSet(nil)) {
				t.Error("a key without scopes is let in")
			}
		})
	}
}

func TestStepsiesDenials(t *testing.T) {
	p := sample(t, "stepsies.yaml")
	const unauthorized = `{"error": {"code": "unauthorized", "message": "Missing or invalid API key"}}`
	const forbidden = `{"error": {"code": "forbidden", "message": "Insufficient scope for this action"}}`
	for reason, want := range map[policy.Reason]string{
		policy.MissingKey: unauthorized, policy.MalformedKey: unauthorized, policy.InvalidKey: unauthorized,
		policy.InsufficientScope: forbidden, policy.NoRule: forbidden,
	} {
		t.Run(string(reason), func(t *testing.T) {
			d := p.Denial(reason, p.Match("GET", "/v1/stepsies"))
			if d.ContentType != "application/json" {
				t.Errorf("content type %q", d.ContentType)
			}
			var wanted, got bytes.Buffer
			if err := json.Compact(&wanted, []byte(want)); err != nil {
				t.Fatal(err)
			}
			got.Write(d.AppendBody(nil, policy.Values{RequestID: "r", KeyID: "k"}))
			if diff := cmp.Diff(wanted.String(), got.String()); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStepsiesKeys(t *testing.T) {
	p := sample(t, "stepsies.yaml")
	got, ok := p.Format(p.DefaultEnvironment())
	if want := (apikey.Format{Prefix: "sk_", Alphabet: apikey.Hex, Length: 48}); !ok || got != want {
		t.Errorf("format %+v, want %+v", got, want)
	}
	for name, c := range map[string]struct {
		namespace policy.GrantNamespace
		want      policy.GrantResult
	}{
		"a tenant has no admin": {
			policy.GrantNamespace{Name: "acme", Labels: map[string]string{"stepsies.com/api": "true"}},
			policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"read", "write"}, Missing: []string{"admin"}},
		},
		"the platform has everything": {
			policy.GrantNamespace{Name: "platform"},
			policy.GrantResult{Known: true, EnvironmentGranted: true, PlanGranted: true, LifeGranted: true, Scopes: []string{"read", "write", "admin"}},
		},
		"others have nothing": {
			policy.GrantNamespace{Name: "other"},
			policy.GrantResult{Missing: []string{"admin", "read", "write"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, p.Granted(c.namespace, policy.GrantRequest{Scopes: []string{"admin", "write", "read"}})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
