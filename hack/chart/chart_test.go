package main

import (
	"strings"
	"testing"
)

func TestFromRBAC(t *testing.T) {
	got, err := fromRBAC("roles.yaml", `# of keygate-keys {{ and
kind: Role
metadata:
  name: keygate-controller
  namespace: keygate-keys
  labels: {app.kubernetes.io/part-of: keygate}
subjects:
- {kind: ServiceAccount, name: keygate-controller, namespace: keygate-system}
expression: user == 'system:serviceaccount:keygate-system:keygate-controller'
`)
	want := `{{- /* Derived from config/rbac/roles.yaml by make generate. */ -}}
# of {{ .Values.keysNamespace.name }} {{ "{{" }} and
kind: Role
metadata:
  name: keygate-controller
  namespace: {{ .Values.keysNamespace.name | quote }}
  labels: {{- include "keygate.labels" . | nindent 4 }}
subjects:
- {kind: ServiceAccount, name: keygate-controller, namespace: {{ .Release.Namespace | quote }}}
expression: user == 'system:serviceaccount:{{ .Release.Namespace }}:keygate-controller'
`
	if err != nil || got != want {
		t.Errorf("got %v\n%s", err, got)
	}
	if _, err := fromRBAC("roles.yaml", "metadata: {name: a, labels: {app.kubernetes.io/part-of: keygate}}\n"); err == nil {
		t.Error("labels that would stay as they are were taken")
	}
}

func TestFromCRD(t *testing.T) {
	got, err := fromCRD("a.yaml", "---\nkind: CustomResourceDefinition\nmetadata:\n  annotations:\n    a: b\n  name: c\n")
	for _, part := range []string{"{{- if .Values.crds.install }}\nkind:", "    helm.sh/resource-policy: keep\n    {{- end }}\n    a: b\n  name: c\n{{- end }}\n"} {
		if err != nil || !strings.Contains(got, part) {
			t.Errorf("no %q in %v\n%s", part, err, got)
		}
	}
	if _, err := fromCRD("a.yaml", "kind: CustomResourceDefinition\nmetadata:\n  name: c\n"); err == nil {
		t.Error("a CRD without annotations was taken")
	}
}

func TestReference(t *testing.T) {
	got, err := reference("# Of the file.\n\n# A group.\na:\n  # One,\n  # or | two.\n  b: {c: x|y}\n# Another.\nd: []\n")
	rows := "| `a` |  | A group. |\n| `a.b` | `{c: x\\|y}` | One, or \\| two. |\n| `d` | `[]` | Another. |\n"
	if err != nil || !strings.HasSuffix(got, rows) {
		t.Errorf("got %v\n%s", err, got)
	}
	for name, text := range map[string]string{
		"no comment": "a: 1\n", "a comment of something else": "# Of the file.\n\na: 1\n", "a list over lines": "# A.\na:\n- 1\n", "too deep": "# A.\n    a: 1\n",
	} {
		if _, err := reference(text); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
