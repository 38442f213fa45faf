package command

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
)

// hashOf is the SHA-256 of a key.
func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// legacy is the n-th of many keys that were made elsewhere.
func legacy(n int) string { return fmt.Sprintf("legacy-key-%032d", n) }

// csv is a file of so many keys.
func csv(n int) string { return csvFrom(0, n) }

// csvFrom is csv from the first-th key on. Tests that wait for what they register each
// need keys of their own: they share a cluster.
func csvFrom(first, n int) string {
	var text strings.Builder
	text.WriteString("name,sha256\n")
	for i := first; i < first+n; i++ {
		fmt.Fprintf(&text, "legacy-%d,%s\n", i, hashOf(legacy(i)))
	}
	return text.String()
}

// file writes a file for a test.
func file(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// TestImport: thousands are registered, what is there is passed over, what collides is
// told, and a second run does only what is left.
func TestImport(t *testing.T) {
	w := newCluster(t)
	const n = 1200
	all := file(t, csv(n))
	run := func(args ...string) ran {
		return w.run(append([]string{"import", "--policy", sample, "--scopes", "read"}, args...)...)
	}
	run("-f", all, "--dry-run").wants(t, outcome.Done, fmt.Sprintf("%d registered (dry run), 0 there already, 0 not", n))
	run("-f", all, "--dry-run=server").wants(t, outcome.Done, fmt.Sprintf("%d registered (server dry run), 0 there already, 0 not", n), "1000 of 1200")
	if list := w.list(); len(list) != 0 {
		t.Fatalf("a dry run registered %d", len(list))
	}
	run("-f", file(t, csv(700))).wants(t, outcome.Done, "700 registered, 0 there already, 0 not")
	begin := time.Now()
	run("-f", all).wants(t, outcome.Done, "500 registered, 700 there already, 0 not", "1000 of 1200")
	t.Logf("500 more in %v", time.Since(begin).Round(time.Millisecond))
	list := w.list()
	if len(list) != n {
		t.Fatalf("%d are there, want %d", len(list), n)
	}
	for i := range list {
		spec := &list[i].Spec
		if len(spec.SHA256) != 64 || len(spec.Scopes) != 1 || spec.PolicyRef != (v1alpha1.PolicyReference{Name: "stepsies", Namespace: "platform"}) {
			t.Fatalf("%s asks for %+v", list[i].Name, spec)
		}
	}
	run("-f", file(t, "name,sha256\nlegacy-0,"+hashOf("another")+"\nlegacy-0b,"+hashOf(legacy(0))+"\nnew,"+hashOf("key-new")+"\n")).
		wants(t, outcome.Partly, "1 registered, 0 there already, 2 not", "line 2: legacy-0: there is an APIKey of this name, for another key",
			"line 3: legacy-0b: the key is registered as legacy-0 already")
	run("-f", file(t, hashOf(legacy(0))+"  -\n"+hashOf("plain")+"  -\n"), "--name-prefix", "old-").wants(t, outcome.Partly, "1 registered, 0 there already, 1 not")
	if got := w.key("old-" + hashOf("plain")[:12]).Spec.SHA256; got != hashOf("plain") {
		t.Errorf("registered %s", got)
	}
	t.Run("each row's own", func(t *testing.T) {
		run("-f", file(t, "name,sha256,scopes,plan,environment,displayName,expiresAt\nrow,"+hashOf("key-row")+",write read,gold,live,Acme,2100-01-01T00:00:00Z\n")).
			wants(t, outcome.Done, "1 registered")
		spec := w.key("row").Spec
		if got := fmt.Sprintln(spec.Scopes, spec.Plan, spec.Environment, spec.DisplayName, spec.ExpiresAt.UTC().Format(time.RFC3339)); got != "[write read] gold live Acme 2100-01-01T00:00:00Z\n" {
			t.Errorf("asks for %s", got)
		}
	})
	t.Run("files that can't be used register nothing", func(t *testing.T) {
		before := len(w.list())
		got := run("-f", file(t, csv(1)+"plain,sk_live_secretsecretsecret\nfine,"+hashOf("fine")+"\n"))
		got.wants(t, outcome.Usage, "line 3: the hash is not 64 hex digits", "nothing was registered")
		if strings.Contains(got.err, "sk_live") {
			t.Errorf("the key is repeated: %s", got)
		}
		run("-f", "/none").wants(t, outcome.NotFound, "no file /none")
		run("-f", file(t, "\n")).wants(t, outcome.Usage, "--name-prefix")
		run().wants(t, outcome.Usage, "-f FILE is missing")
		if after := len(w.list()); after != before {
			t.Errorf("%d were registered", after-before)
		}
	})
}

// TestImportWithoutTheRight: who may not create APIKeys is told once, not a thousand
// times.
func TestImportWithoutTheRight(t *testing.T) {
	w := newCluster(t)
	reader := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "reader"}, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{"keygate.dev"}, Resources: []string{"apikeys"}, Verbs: []string{"get", "list", "watch"},
	}}}
	w.kubeconfig = w.writeKubeconfig(w.bind(reader, "looker"))
	got := w.run("import", "--policy", sample, "-f", file(t, csv(300)))
	got.wants(t, outcome.Refused, "forbidden", "0 registered")
	if lines := strings.Count(got.err, "\n"); lines > 4 {
		t.Errorf("it takes %d lines to say so: %s", lines, got)
	}
}

// TestImportWaits: registered keys work, and one that is registered elsewhere is told.
func TestImportWaits(t *testing.T) {
	const waitsFrom = 9000
	w := newWorld(t)
	w.run("import", "--policy", sample, "--scopes", "read", "-f", file(t, csvFrom(waitsFrom, 20)), "--wait").wants(t, outcome.Done, "20 registered")
	w.becomes(legacy(waitsFrom+7), outcome.Done, w.namespace+"/legacy-9007")
	w.run("token", "legacy-9007").wants(t, outcome.NotFound, "made elsewhere")
	w.run("rotate", "legacy-9007").wants(t, outcome.Refused, "rotated there")
	w.run("create", "one", "--policy", sample, "--scopes", "read", "--sha256", hashOf("one-key")).wants(t, outcome.Done, "registered")
	w.becomes("one-key", outcome.Done, w.namespace+"/one")
	other := w.server.Namespace("tenant", map[string]string{"stepsies.com/api": "true"})
	w.run("import", "--policy", sample, "-f", file(t, csvFrom(waitsFrom, 1)), "--wait", "-n", other).wants(t, outcome.Partly, "1 registered", "legacy-9000 does not work: DuplicateKey")
}

// list is the tenant's APIKeys.
func (w *world) list() []v1alpha1.APIKey {
	w.Helper()
	keys := &v1alpha1.APIKeyList{}
	must(w.TB, w.admin.List(w.Context(), keys, client.InNamespace(w.namespace)))
	return keys.Items
}

// bind gives a role to a user of the tenant's namespace, and returns the user's config
// once the role is in force.
func (w *world) bind(role *rbacv1.Role, user string) *rest.Config {
	w.Helper()
	must(w.TB, w.admin.Create(w.Context(), role))
	must(w.TB, w.admin.Create(w.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, Name: user}},
	}))
	config := w.server.ConfigFor(user)
	w.server.AwaitRights(config, w.namespace, role.Rules...)
	return config
}
