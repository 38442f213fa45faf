package checker

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"keygate.dev/keygate/pkg/policy"
)

// TestDialInTheClear: a token leaves the machine without TLS only where that is asked
// for.
func TestDialInTheClear(t *testing.T) {
	for address, tc := range map[string]struct {
		options Options
		refused bool
	}{
		"127.0.0.1:9001": {}, "[::1]:9001": {}, "localhost:9001": {},
		"10.0.0.1:9001": {refused: true}, "extauthz.example.com:9001": {refused: true}, "localhost.example.com:9001": {refused: true}, "nothing": {refused: true},
		"10.0.0.2:9001": {options: Options{Plaintext: true}}, "10.0.0.3:9001": {options: Options{ServerName: "extauthz"}},
	} {
		conn, err := Dial(address, tc.options)
		if refused := errors.Is(err, ErrPlaintext); refused != tc.refused || !refused && err != nil {
			t.Errorf("%s: %v", address, err)
		}
		if conn != nil {
			_ = conn.Close()
		}
	}
	if _, err := Dial("10.0.0.1:1", Options{CA: "/none"}); err == nil {
		t.Error("without the CA that was asked for, anybody's certificate is taken")
	}
}

// TestRequest: the token stands where the policy takes it, and nowhere else.
func TestRequest(t *testing.T) {
	for name, tc := range map[string]struct {
		credential policy.Credential
		path       string
		headers    map[string]string
	}{
		"a scheme":    {policy.Credential{Header: "authorization", Scheme: "bearer"}, "/a", map[string]string{"authorization": "bearer sk_1"}},
		"a header":    {policy.Credential{Header: "x-key"}, "/a", map[string]string{"x-key": "sk_1"}},
		"a parameter": {policy.Credential{Query: "k"}, "/a?k=sk_1", map[string]string{}},
	} {
		q := Question{Policy: "n/p", Method: "GET", Path: "/a", Host: "h", Credential: tc.credential, Token: []byte("sk_1")}
		attributes := q.request().GetAttributes()
		got := attributes.GetRequest().GetHttp()
		for _, pseudo := range []string{":method", ":path", ":authority"} {
			delete(got.GetHeaders(), pseudo)
		}
		if diff := cmp.Diff(tc.headers, got.GetHeaders()); diff != "" || got.GetPath() != tc.path {
			t.Errorf("%s: %s, headers %s", name, got.GetPath(), diff)
		}
		if attributes.GetContextExtensions()["keygate.dev/policy"] != "n/p" || attributes.GetDestination().GetPrincipal() == "" {
			t.Errorf("%s: asks %v", name, attributes.GetContextExtensions())
		}
	}
}

func TestValid(t *testing.T) {
	for reason, want := range map[string]bool{
		"allowed": true, "insufficient_scope": true, "plan_required": true, "rate_limited": true, "address_denied": true,
		"invalid_key": false, "malformed_key": false, "unavailable": false, "no_rule": false, "": false,
	} {
		if got := (&Answer{Reason: reason, Name: "ci"}).Valid(); got != want {
			t.Errorf("%q: %v", reason, got)
		}
	}
	if (&Answer{Reason: "allowed", Allowed: true}).Valid() {
		t.Error("nobody's key is valid")
	}
}

func TestPodPort(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 1}}}}}}
	if got := PodPort(pod); got != 9001 {
		t.Errorf("%d", got)
	}
	pod.Spec.Containers[0].Ports[0].Name = "grpc"
	if got := PodPort(pod); got != 1 {
		t.Errorf("%d", got)
	}
}
