package command

import (
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"keygate.dev/keygate/api/v1alpha1"
	"keygate.dev/keygate/cmd/kubectl-apikey/internal/outcome"
)

// TestVerifyFindsThePolicy: the policy is found by the token's prefix, and a key that
// is counted is not charged where a rule is not counted.
func TestVerifyFindsThePolicy(t *testing.T) {
	w := newWorld(t)
	p := &v1alpha1.APIKeyPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "counted"}}
	p.Spec.Environments = []v1alpha1.Environment{{Name: "live", Prefix: "ck_"}}
	p.Spec.Plans = []v1alpha1.Plan{{Name: "one", Limits: []v1alpha1.Limit{{Requests: 1, Per: metav1.Duration{Duration: time.Hour}}}}}
	p.Spec.DefaultPlan, p.Spec.RequireTLS = "one", true
	free := int32(0)
	p.Spec.Rules = []v1alpha1.Rule{
		{Paths: []v1alpha1.PathPattern{"/paid"}, AnyKey: true}, {Paths: []v1alpha1.PathPattern{"/free/{id}"}, AnyKey: true, Cost: &free},
		{Paths: []v1alpha1.PathPattern{"/open"}, Anonymous: true},
	}
	must(t, w.admin.Create(t.Context(), p))
	token := strings.TrimSpace(w.run("create", "ci", "--policy", "counted").out)
	for range 3 {
		w.becomes(token, outcome.Done, "yes")
	}
	w.verify(token).wants(t, outcome.Done, w.namespace+"/counted", "Plan:         one", "/free/{id}", "anybody")
	w.run("can-i", "ci", "GET", "/paid").wants(t, outcome.Done, "While the limits of the plan one are not used up")
	w.run("can-i", "ci", "GET", "/paid", "--plain-http").wants(t, outcome.No, "tls_required")
	w.runWith(token, "verify", "--extauthz", w.extauthz, "--policy", sample).wants(t, outcome.No, "no, of another policy", w.namespace+"/ci")
	w.runWith(token, "verify", "--extauthz", w.extauthz, "--policy", "none").wants(t, outcome.NotFound)

	t.Run("without the right to read the APIKey", func(t *testing.T) {
		reader := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "policies"}, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{"keygate.dev"}, Resources: []string{"apikeypolicies"}, Verbs: []string{"get", "list"},
		}}}
		kubeconfig := w.writeKubeconfig(w.bind(reader, "finder"))
		runLine(t.Context(), token, "verify", "--extauthz", w.extauthz, "--kubeconfig", kubeconfig).
			wants(t, outcome.Done, "yes", w.namespace+"/ci", "not yours to read")
	})
}
