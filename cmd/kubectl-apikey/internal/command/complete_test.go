package command

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
)

// TestCompletion: the names that the cluster has are offered, and nothing where it
// can't be asked.
func TestCompletion(t *testing.T) {
	w := newCluster(t)
	must(t, w.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "only-here"}}))
	p := &v1alpha1.APIKeyPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "orders"}}
	p.Spec.Environments = []v1alpha1.Environment{{Name: "live", Prefix: "sk_"}, {Name: "lab", Prefix: "lk_"}}
	p.Spec.Scopes = []v1alpha1.Scope{{Name: "read", Description: "look"}, {Name: "write"}, {Name: "wipe"}}
	p.Spec.Plans = []v1alpha1.Plan{{Name: "gold"}, {Name: "silver"}}
	p.Spec.Rules = []v1alpha1.Rule{{Paths: []v1alpha1.PathPattern{"/"}, AnyKey: true}}
	must(t, w.admin.Create(t.Context(), p))
	for _, name := range []string{"ci", "cron", "web"} {
		w.run("create", name, "--policy", "orders", "--wait=false")
	}
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{[]string{"describe", ""}, []string{"ci\tJudging, " + w.namespace + "/orders", "cron\tJudging, " + w.namespace + "/orders", "web\tJudging, " + w.namespace + "/orders"}},
		{[]string{"revoke", "ci", "c"}, []string{"cron\tJudging, " + w.namespace + "/orders"}},
		{[]string{"token", "ci", ""}, nil},
		{[]string{"create", "x", "--policy", "ord"}, []string{"orders"}},
		{[]string{"create", "x", "--policy", w.namespace + "/"}, []string{w.namespace + "/orders"}},
		{[]string{"create", "x", "--policy", "orders", "--scopes", ""}, []string{"read\tlook", "write", "wipe"}},
		{[]string{"create", "x", "--policy", "orders", "--scopes", "read,w"}, []string{"read,write", "read,wipe"}},
		{[]string{"import", "--policy", "orders", "--environment", "la"}, []string{"lab\tlk_"}},
		{[]string{"create", "x", "--policy", "orders", "--plan", "g"}, []string{"gold"}},
		{[]string{"create", "x", "--policy", "none", "--plan", ""}, nil},
		{[]string{"list", "--namespace", "only"}, []string{"only-here"}},
		{[]string{"revoke", "x", "--dry-run=s"}, []string{"none", "client", "server"}},
	} {
		got := runLine(t.Context(), "", append([]string{"__complete", "--kubeconfig=" + w.kubeconfig}, tc.args...)...)
		var words []string
		for line := range strings.Lines(got.out) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, ":") {
				words = append(words, line)
			}
		}
		if diff := cmp.Diff(tc.want, words); diff != "" {
			t.Errorf("%v: %s", tc.args, diff)
		}
	}
	got := runLine(t.Context(), "", "__complete", "--kubeconfig=/none", "describe", "")
	if got.code != 0 || !strings.HasPrefix(got.out, ":") {
		t.Errorf("without a cluster: %s", got)
	}
}
