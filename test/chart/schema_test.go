package chart

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestSchemaRefuses what can't be right, and says where.
func TestSchemaRefuses(t *testing.T) {
	for name, test := range map[string]struct{ arg, says string }{
		"a password in an address":     {"--set=redis.address=redis://:secret@h:1", "/redis/address"},
		"a scheme that is not Redis's": {"--set=redis.address=http://h:1", "/redis/address"},
		"a provider that is none":      {"--set=tls.provider=builtin", "/tls/provider"},
		"a number as text":             {"--set-string=extauthz.replicas=3", "/extauthz/replicas"},
		"a switch as text":             {"--set-string=crds.keep=true", "/crds/keep"},
		"a client that is no Secret":   {"--set=tls.clients.a=B", "/tls/clients/a"},
		"a budget for all replicas":    {"--set=extauthz.podDisruptionBudget.maxUnavailable=3", "maxUnavailable"},
		"pods of root":                 {"--set=podSecurityContext.runAsUser=0", "/podSecurityContext/runAsUser"},
		"all namespaces and one":       {"--set=policyNamespaces={*,a}", "/policyNamespaces"},
		"a digest cut short":           {"--set=image.digest=sha256:abc", "/image/digest"},
		"a flag that is none":          {"--set=extauthz.extraArgs={pprof}", "/extauthz/extraArgs/0"},
		"a collector without a port":   {"--set=extauthz.tracing.endpoint=http://a", "/extauthz/tracing/endpoint"},
		"nobody who answers":           {"--set=extauthz.replicas=0", "/extauthz/replicas"},
		"more at least than at most":   {"--set=extauthz.autoscaling.enabled=true,extauthz.autoscaling.minReplicas=20", "maxReplicas"},
		"no timeout":                   {"--set=extauthz.drain.timeoutSeconds=0", "/extauthz/drain/timeoutSeconds"},
		"TLS to Redis without its CA":  {"--set=redis.address=rediss://h:1", "redis.tls.caSecret"},
		"a password without a Redis":   {"--set=redis.passwordSecret.name=a", "redis.address"},
		"one namespace for both":       {"--set=keysNamespace.name=keygate-system", "keysNamespace.name"},
		"no server's Secret":           {"--set=tls.provider=Existing", "tls.existing."},
		"a life between two renewals":  {"--set=tls.lifeHours=24", "/tls/lifeHours"},
		"an authority that ends first": {"--set=tls.authorityLifeHours=8639", "four times"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, test.arg, test.says) })
	}
	t.Run("an authority of cert-manager that ends first", func(t *testing.T) {
		refused(t, "--set-json=tls={\"provider\":\"CertManager\",\"authorityLifeHours\":8639}", "four times")
	})
	t.Run("an Issuer for another namespace", func(t *testing.T) {
		refused(t, "--set-json=tls={\"provider\":\"CertManager\",\"clients\":{\"a\":\"b\"}}", "ClusterIssuer")
	})
}

func refused(t *testing.T, arg, says string) {
	t.Helper()
	_, err := Helm(t, "template", "keygate", Path(t), "--namespace="+systemNamespace, arg)
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: got %v, want %q", arg, err, says)
	}
}

// free are groups into which anything may be written, since Kubernetes defines them.
var free = []string{"requests", "limits", "nodeSelector", "affinity", "podAnnotations", "podLabels", "annotations", "labels", "issuerRef", "clients"}

// TestSchemaRefusesTypos: a value that values.yaml does not have is refused, in every
// group.
func TestSchemaRefusesTypos(t *testing.T) {
	var values map[string]any
	read(t, &values)
	groups := groupsOf("", values)
	if len(groups) < 20 {
		t.Fatalf("values.yaml has only %d groups", len(groups))
	}
	for _, group := range groups {
		t.Run(group, func(t *testing.T) { refused(t, "--set="+group+"typo=1", "'typo' not allowed") })
	}
}

// groupsOf are the paths of the groups of values, each with a dot at its end.
func groupsOf(path string, values map[string]any) []string {
	groups := []string{path}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if group, ok := values[name].(map[string]any); ok && !slices.Contains(free, name) {
			groups = append(groups, groupsOf(path+name+".", group)...)
		}
	}
	return groups
}

// TestSchemaKnowsValues: the schema has every value, and no other.
func TestSchemaKnowsValues(t *testing.T) {
	var values map[string]any
	read(t, &values)
	text, err := os.ReadFile(Path(t, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema node
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	delete(schema.Properties, "global")  // Helm's
	delete(schema.Properties, "enabled") // a parent chart's
	compare(t, "", schema, values)
}

// node is a part of a JSON schema.
type node struct {
	Properties map[string]node
	Additional *json.RawMessage `json:"additionalProperties"`
}

func compare(t *testing.T, path string, schema node, values map[string]any) {
	t.Helper()
	if string(*schema.Additional) != "false" {
		t.Errorf("%s takes anything", path)
	}
	got, want := slices.Sorted(maps.Keys(schema.Properties)), slices.Sorted(maps.Keys(values))
	if !slices.Equal(got, want) {
		t.Errorf("%s: the schema has %v, values.yaml has %v", path, got, want)
	}
	for name, property := range schema.Properties {
		if group, ok := values[name].(map[string]any); ok && property.Properties != nil {
			compare(t, path+"."+name, property, group)
		}
	}
}
