package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// namespaces is the one file of config/rbac that has no counterpart: Helm makes the
// release's namespace, and templates/namespace.yaml the other one.
const namespaces = "namespaces.yaml"

// What the manifests say, and the templates leave open.
var (
	// partOf is the labels of every object.
	partOf = regexp.MustCompile(`(?m)^( *)labels: \{app\.kubernetes\.io/part-of: keygate\}$`)
	// namespaceField is the namespace of an object or a subject.
	namespaceField = regexp.MustCompile(`\bnamespace: keygate-(system|keys)\b`)
	// namespaceName is the same within a text, such as an expression in CEL.
	namespaceName = regexp.MustCompile(`\bkeygate-(system|keys)\b`)
)

// values maps the last part of a namespace's name to what takes its place.
var values = map[string]string{"system": ".Release.Namespace", "keys": ".Values.keysNamespace.name"}

// fromRBAC turns a manifest of roles or admission policies into a template.
func fromRBAC(name, text string) (string, error) {
	text = escape(text)
	text = partOf.ReplaceAllStringFunc(text, func(line string) string {
		indent := len(line) - len(strings.TrimLeft(line, " "))
		return fmt.Sprintf("%slabels: {{- include \"keygate.labels\" . | nindent %d }}", line[:indent], indent+2)
	})
	text = namespaceField.ReplaceAllStringFunc(text, func(field string) string {
		return "namespace: {{ " + values[field[strings.LastIndex(field, "-")+1:]] + " | quote }}"
	})
	text = namespaceName.ReplaceAllStringFunc(text, func(name string) string {
		return "{{ " + values[name[strings.LastIndex(name, "-")+1:]] + " }}"
	})
	if strings.Contains(text, "part-of: keygate}") {
		return "", errors.New("labels are not on a line of their own, as labels: {app.kubernetes.io/part-of: keygate}")
	}
	return banner("config/rbac/"+name) + text, nil
}

// fromCRD turns a CRD into a template that upgrades with the release and, unless
// told otherwise, outlives it: with a CRD go all objects of its kind.
func fromCRD(name, text string) (string, error) {
	const annotations = "\nmetadata:\n  annotations:\n"
	before, after, found := strings.Cut(strings.TrimPrefix(escape(text), "---\n"), annotations)
	if !found {
		return "", errors.New("the CRD's metadata does not begin with annotations")
	}
	return banner("config/crd/"+name) + "{{- if .Values.crds.install }}\n" + before + "\nmetadata:\n" +
		"  labels: {{- include \"keygate.labels\" . | nindent 4 }}\n  annotations:\n" +
		"    {{- if .Values.crds.keep }}\n    helm.sh/resource-policy: keep\n    {{- end }}\n" + after + "{{- end }}\n", nil
}

func banner(source string) string {
	return "{{- /* Derived from " + source + " by make generate. */ -}}\n"
}

// escape keeps what looks like a template's action from being one.
func escape(text string) string { return strings.ReplaceAll(text, "{{", `{{ "{{" }}`) }
