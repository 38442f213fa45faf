package command

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
)

// tokenShape is a token of the sample's.
var tokenShape = regexp.MustCompile(`^sk_[0-9a-f]{48}\n$`)

// TestLife: a key is created, used, suspended, resumed and revoked.
func TestLife(t *testing.T) {
	w := newWorld(t)
	var token string
	t.Run("create prints the token, alone, and takes its Secret away", func(t *testing.T) {
		got := w.run("create", "ci", "--policy", sample, "--scopes", "read", "--expires", "90d", "--display-name", "CI/CD Pipeline")
		got.wants(t, outcome.Done, "scopes read, expires in 90d", "curl -H @- https://api.stepsies.com/v1/stepsies", "the Secret ci is deleted")
		if !tokenShape.MatchString(got.out) {
			t.Fatalf("standard output is no token: %s", got)
		}
		token = strings.TrimSpace(got.out)
		if strings.Contains(got.err, token) {
			t.Error("standard error has the token")
		}
		if _, err := w.secret("ci"); !apierrors.IsNotFound(err) {
			t.Errorf("the Secret is there: %v", err)
		}
		key := w.key("ci")
		if got := key.Annotations["keygate.dev/collected"]; got == "" || got != key.Status.Keys[0].ID {
			t.Errorf("collected is said of %q, want %s", got, key.Status.Keys[0].ID)
		}
		if got := key.Spec.DisplayName; got != "CI/CD Pipeline" {
			t.Errorf("display name %q", got)
		}
	})
	t.Run("a second time there is nothing to print", func(t *testing.T) {
		got := w.run("token", "ci")
		got.wants(t, outcome.NotFound, "nobody can read it again", "kubectl apikey rotate ci")
		w.run("create", "ci", "--policy", sample).wants(t, outcome.Refused, "already exists", "kubectl apikey token ci")
	})
	t.Run("verify knows it", func(t *testing.T) {
		w.verify(token).wants(t, outcome.Done, "yes", w.namespace+"/ci", sample, "Active", "CI/CD Pipeline", "in 90d",
			"May reach:\n  GET", "May not reach:\n  POST")
	})
	t.Run("can-i", func(t *testing.T) {
		w.run("can-i", "ci", "GET", "/v1/stepsies/7").wants(t, outcome.Done, "yes - rule 1 (GET /v1/stepsies /v1/stepsies/{id}) asks for read")
		w.run("can-i", "ci", "POST", "/v1/stepsies").wants(t, outcome.No, "no - rule 2", "asks for write; the key has read")
		w.run("can-i", "ci", "get", "/v1/stepsies").wants(t, outcome.No, "no rule of platform/stepsies", "in capitals: GET")
		w.run("can-i", "ci", "GET", "/v1/../x").wants(t, outcome.No, "malformed_request path")
		w.run("can-i", "ci", "GET", "/v1/stepsies", "--host", "api.stepsies.com:443").wants(t, outcome.Done, "yes")
		w.run("can-i", "ci", "GET", "/v1/stepsies", "--host", "example.com").wants(t, outcome.No, "no policy that you can read decides")
	})
	t.Run("suspended and resumed", func(t *testing.T) {
		w.run("suspend", "ci").wants(t, outcome.Done, "apikey.keygate.dev/ci suspended")
		w.becomes(token, outcome.No, "no, suspended")
		w.run("can-i", "ci", "GET", "/v1/stepsies").wants(t, outcome.No, "the key is not valid: suspended")
		w.run("list").wants(t, outcome.Done, "Suspended")
		w.run("resume", "ci").wants(t, outcome.Done, "apikey.keygate.dev/ci resumed")
		w.becomes(token, outcome.Done, "yes")
	})
	t.Run("revoked, for good", func(t *testing.T) {
		w.run("revoke", "ci").wants(t, outcome.Usage, "--yes")
		w.run("revoke", "ci", "--yes", "--dry-run").wants(t, outcome.Done, "revoked (dry run)")
		w.run("revoke", "ci", "--yes", "--dry-run=server").wants(t, outcome.Done, "revoked (server dry run)")
		w.verify(token).wants(t, outcome.Done, "yes")
		w.run("revoke", "ci", "--yes").wants(t, outcome.Done, "apikey.keygate.dev/ci revoked")
		w.becomes(token, outcome.No, "no, revoked")
		w.run("resume", "ci").wants(t, outcome.Refused, "revoked, for good")
		w.run("rotate", "ci").wants(t, outcome.Refused, "revoked, for good")
	})
	t.Run("described and told", func(t *testing.T) {
		w.run("describe", "ci").wants(t, outcome.Done, "Display name:  CI/CD Pipeline", "State:         Revoked", "SERIAL  KEY ID", "Ready")
		w.eventually(func() error { // Events follow with a delay
			got := w.run("audit", "ci")
			issued, revoked := strings.Index(got.out, "Issued"), strings.Index(got.out, "Revoked")
			if issued < 0 || revoked < issued {
				return fmt.Errorf("the story is not told in order: %s", got)
			}
			return nil
		})
	})
	t.Run("nobody's", func(t *testing.T) {
		w.verify("sk_"+strings.Repeat("0", 48)).wants(t, outcome.No, "no, nobody's")
		w.run("describe", "none").wants(t, outcome.NotFound, "kubectl apikey list")
	})
}

// TestCreateRefused: a key that is not granted is told why, soon, and not created where
// only that is asked.
func TestCreateRefused(t *testing.T) {
	w := newWorld(t)
	w.run("create", "big", "--policy", sample, "--scopes", "admin").wants(t, outcome.Refused, "ScopesNotGranted", "not granted: admin", "ask the team of platform/stepsies")
	w.run("create", "lost", "--policy", "nowhere").wants(t, outcome.Refused, "PolicyNotFound", w.namespace+"/nowhere")
	w.run("create", "late", "--policy", sample, "--scopes", "admin", "--timeout", "100ms").wants(t, outcome.Late, "after 100ms")
	for name, dry := range map[string]string{"one": "--dry-run", "two": "--dry-run=server"} {
		w.run("create", name, "--policy", sample, dry).wants(t, outcome.Done, "apikey.keygate.dev/"+name+" created (")
		if err := w.admin.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, &v1alpha1.APIKey{}); !apierrors.IsNotFound(err) {
			t.Errorf("%s created it: %v", dry, err)
		}
	}
	w.run("create", "No_Name", "--policy", sample).wants(t, outcome.Refused, "Invalid value")
	w.run("create", "x", "--policy", sample, "--rotate-every", "90d").wants(t, outcome.Refused, "rotation.every needs delivery.retain: Keep")
	w.run("list", "-n", "default").wants(t, outcome.Done, "No such keys in default")
}

// TestKeep: a token whose Secret stays is printed, and stays; --keep-secret does so
// once.
func TestKeep(t *testing.T) {
	w := newWorld(t)
	for name, flags := range map[string][]string{"kept": {"--retain", "Keep"}, "spared": {"--keep-secret"}} {
		got := w.run(append([]string{"create", name, "--policy", sample}, flags...)...)
		got.wants(t, outcome.Done, "The token stays in the Secret "+name)
		secret, err := w.secret(name)
		must(t, err)
		if string(secret.Data["token"])+"\n" != got.out || !tokenShape.MatchString(got.out) {
			t.Errorf("another token was printed than the Secret holds: %s", got.err)
		}
	}
	w.run("token", "spared").wants(t, outcome.Done, "the Secret spared is deleted")
	w.run("create", "later", "--policy", sample, "--wait=false").wants(t, outcome.Done, "kubectl apikey token later")
	if got := w.run("token", "later"); !tokenShape.MatchString(got.out) {
		t.Errorf("collected later: %s", got.err)
	}
}

// verify asks about a token.
func (w *world) verify(token string) ran {
	return w.runWith(token+"\n", "verify", "--extauthz", w.extauthz)
}

// becomes waits until verify says so of a token: extauthz hears of changes a moment
// after the controller is done with them.
func (w *world) becomes(token string, code outcome.Code, said string) {
	w.Helper()
	w.eventually(func() error {
		if got := w.verify(token); got.code != code || !strings.Contains(got.out, said) {
			return fmt.Errorf("want code %d and %q: %s", code, said, got)
		}
		return nil
	})
}
